import type { Route } from '../config/schema.ts'
import { PLACEHOLDER, PLACEHOLDERS, TOKEN_ALONE, type Placeholder } from '../config/value-types/http.ts'
import type { Claims } from '../oidc/token-set.ts'
import { claimAt, compileClaimPath, type ClaimPath } from './claims.ts'

type Part = { readonly text: string } | { readonly claim: ClaimPath } | Placeholder

export interface Template {
  readonly parts: readonly Part[]
  /** Whether the value is a token, alone or with its scheme. It is sent without any encoding. */
  readonly isToken: boolean
  /** Whether the value depends only on the claims and the provider, which do not change between two refreshes. */
  readonly isPerUser: boolean
}

/** The values of placeholders that are not claims. A missing value is `null` or omitted. */
export type Values = Readonly<Partial<Record<Placeholder, string | null>>>

type Encoding = Route['headers']['encoding']

/** A text, or the items of a list. */
type Value = string | readonly string[]

/** Common servers reject longer header values. */
const MAX_BYTES = 8192

/** Parses a header's value. */
export function parseTemplate(template: string): Template {
  // Every second part of the split is the name of a placeholder.
  const parts = template.split(PLACEHOLDER).flatMap((part, index): Part[] => {
    if (index % 2 === 0) return part === '' ? [] : [{ text: part }]
    const placeholder = PLACEHOLDERS.find((name) => name === part)
    return [placeholder ?? { claim: compileClaimPath(part.replace(/^claims\./, '')) }]
  })
  return {
    parts,
    isToken: TOKEN_ALONE.test(template),
    isPerUser: parts.every((part) => typeof part === 'object' || part === 'provider'),
  }
}

/**
 * Returns the header value for a user's claims and the values of other placeholders, with one character for each byte.
 * List items are joined with `,`, and a comma in an item becomes `%2C`. Returns `null` if a value is missing, if the
 * encoding cannot express the text, or if the result would be longer than 8 kB. The limit does not apply to tokens.
 */
export function fillTemplate(
  template: Template,
  claims: Claims,
  encoding: Encoding,
  others: Values = {},
): string | null {
  const values = partValues(template, claims, others)
  if (values === null) return null
  if (template.isToken) return values.join('')
  const filled = encoders[encoding](values)
  return filled !== null && filled.length > MAX_BYTES ? null : filled
}

const WHY_MISSING: Readonly<Record<Placeholder, string>> = {
  'provider': 'there is one provider, without a name',
  'session.id': 'there is no session',
  'request.id': 'the request has no id',
  'idToken': 'there is no ID token',
  'accessToken': 'there is no access token',
  'assertion': 'there is no user',
}

/** Returns why `fillTemplate` returns `null`, or `null` if it returns a value. */
export function whyNoHeader(template: Template, claims: Claims, encoding: Encoding, others: Values): string | null {
  const missing = template.parts.find((part) => valueOf(part, claims, others) === null)
  if (typeof missing === 'string') return WHY_MISSING[missing]
  if (missing !== undefined && 'claim' in missing) return `the claim ${missing.claim.name} is missing`
  if (fillTemplate(template, claims, encoding, others) !== null) return null
  return encoders[encoding](partValues(template, claims, others) ?? []) === null
    ? `its value has a control character, or a space at an end, which encoding: ${encoding} cannot express`
    : 'its value would be longer than 8 kB'
}

/** Returns the values of all parts, or `null` if one is missing. */
function partValues({ parts }: Template, claims: Claims, others: Values): readonly Value[] | null {
  const values: Value[] = []
  for (const part of parts) {
    const value = valueOf(part, claims, others)
    if (value === null) return null
    values.push(value)
  }
  return values
}

function valueOf(part: Part, claims: Claims, others: Values): Value | null {
  if (typeof part === 'string') return others[part] ?? null
  return 'text' in part ? part.text : asText(claimAt(claims, part.claim))
}

function asText(value: unknown): Value | null {
  if (value === undefined || value === null) return null
  if (Array.isArray(value)) return value.flatMap((item) => (item === null || item === undefined ? [] : [plain(item)]))
  return plain(value)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

const encoders: Readonly<Record<Encoding, (values: readonly Value[]) => string | null>> = {
  'rfc8187': rfc8187,
  'base64': (values) => Buffer.from(joined(values)).toString('base64'),
  'utf-8': utf8,
  'percent': percent,
}

function joined(values: readonly Value[]): string {
  return values
    .map((value) => (typeof value === 'string' ? value : value.map((item) => item.replaceAll(',', '%2C')).join(',')))
    .join('')
}

/**
 * Returns printable ASCII as it is and other text as an ext-value; item by item if the value is a list.
 * @see https://www.rfc-editor.org/rfc/rfc8187#section-3.2
 */
function rfc8187(values: readonly Value[]): string {
  const only = values.length === 1 ? values[0] : undefined
  return Array.isArray(only)
    ? only.map((item: string) => asciiOnly(item.replaceAll(',', '%2C'))).join(',')
    : asciiOnly(joined(values))
}

const PRINTABLE = /^[\u0020-\u007e]*$/

/** A claim that looks like an ext-value is encoded once more, so that decoding returns the claim. */
const LIKE_AN_EXT_VALUE = /^(?:utf-8|iso-8859-1)'[a-z0-9-]*'/i

/** Encodes text that a header cannot carry, including text with outer spaces, because servers trim those. */
function asciiOnly(text: string): string {
  if (PRINTABLE.test(text) && text === text.trim() && !LIKE_AN_EXT_VALUE.test(text)) return text
  const encoded = encodeURIComponent(withoutLoneSurrogates(text))
  return `UTF-8''${encoded.replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`
}

/** The characters at which some servers or applications break lines, and all other control characters. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u

/**
 * Returns the bytes of UTF-8. Returns `null` for text that this encoding cannot express: control characters, and outer
 * spaces, which servers trim. Without them, ` admin` would reach the application as `admin`.
 */
function utf8(values: readonly Value[]): string | null {
  const text = joined(values)
  if (CONTROL.test(text) || [text, ...values.filter((value) => typeof value !== 'string').flat()].some(isPadded))
    return null
  return Buffer.from(text).toString('latin1')
}

function isPadded(text: string): boolean {
  return text !== text.trim()
}

/**
 * Percent-encodes what is not printable ASCII, `%` itself, outer spaces, and commas in list items. Decoding a text, or
 * the items between the commas of a list, returns the claim.
 * @see https://www.rfc-editor.org/rfc/rfc3986#section-2.1
 */
function percent(values: readonly Value[]): string {
  const encoded = values.map((value) =>
    typeof value === 'string'
      ? percentEncoded(value)
      : value.map((item) => withoutOuterSpaces(percentEncoded(item).replaceAll(',', '%2C'))).join(','),
  )
  return withoutOuterSpaces(encoded.join(''))
}

function percentEncoded(text: string): string {
  return withoutLoneSurrogates(text).replace(/[^\u0020-\u007e]+|%/g, encodeURIComponent)
}

/** Percent-encodes the spaces at both ends of a text without other whitespace. */
function withoutOuterSpaces(text: string): string {
  const inner = text.trim()
  if (inner === text) return text
  const before = text.length - text.trimStart().length
  return `${'%20'.repeat(before)}${inner}${'%20'.repeat(text.length - before - inner.length)}`
}

function withoutLoneSurrogates(text: string): string {
  return text.replace(/\p{Surrogate}/gu, '\ufffd')
}
