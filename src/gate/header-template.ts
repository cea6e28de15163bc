import type { Route } from '../config/schema.ts'
import type { Claims } from '../oidc/token-set.ts'
import { claimAt } from './claims.ts'

type Part = { readonly text: string } | { readonly claim: string } | 'provider'

export type Template = readonly Part[]

type Encoding = Route['headers']['encoding']

/** Common servers reject longer header values. */
const MAX_BYTES = 8192

const PRINTABLE = /^[\u0020-\u007e]*$/

/** A claim that looks like an ext-value is encoded once more, so that decoding returns the claim. */
const LIKE_AN_EXT_VALUE = /^(?:utf-8|iso-8859-1)'[a-z0-9-]*'/i

/** Parses `text {claims.name} {provider} text`. */
export function parseTemplate(template: string): Template {
  return template
    .split(/(\{claims\.[^}]+\}|\{provider\})/)
    .filter((part) => part !== '')
    .map((part) => {
      if (part === '{provider}') return 'provider'
      return part.startsWith('{claims.') ? { claim: part.slice('{claims.'.length, -1) } : { text: part }
    })
}

/**
 * Returns the header value for a user's claims and the name of the user's provider. List items are joined with `,`, and
 * a comma in an item becomes `%2C`. A value that is not printable ASCII becomes an ext-value; with `base64`, the whole
 * value is encoded. Returns `null` if a claim or the name is missing, or the value would be longer than 8 kB.
 * @see https://www.rfc-editor.org/rfc/rfc8187#section-3.2
 */
export function fillTemplate(template: Template, claims: Claims, encoding: Encoding, provider?: string): string | null {
  const values: (string | readonly string[])[] = []
  for (const part of template) {
    const value = textOf(part, claims, provider)
    if (value === null) return null
    values.push(value)
  }
  const only = values.length === 1 ? values[0] : undefined
  const filled =
    encoding === 'base64'
      ? Buffer.from(values.map(joined).join('')).toString('base64')
      : Array.isArray(only)
        ? only.map((item: string) => asciiOnly(item.replaceAll(',', '%2C'))).join(',')
        : asciiOnly(values.map(joined).join(''))
  return filled.length > MAX_BYTES ? null : filled
}

export function whyNoHeader(template: Template, claims: Claims, encoding: Encoding, provider?: string): string | null {
  const missing = template.find((part) => textOf(part, claims, provider) === null)
  if (missing === 'provider') return 'there is one provider, without a name'
  if (missing !== undefined && 'claim' in missing) return `the claim ${missing.claim} is missing`
  return fillTemplate(template, claims, encoding, provider) === null ? 'its value would be longer than 8 kB' : null
}

function textOf(part: Part, claims: Claims, provider: string | undefined): string | readonly string[] | null {
  if (part === 'provider') return provider ?? null
  return 'text' in part ? part.text : asText(claimAt(claims, part.claim))
}

function asText(value: unknown): string | readonly string[] | null {
  if (value === undefined || value === null) return null
  if (Array.isArray(value)) return value.flatMap((item) => (item === null || item === undefined ? [] : [plain(item)]))
  return plain(value)
}

function plain(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}

function joined(value: string | readonly string[]): string {
  return typeof value === 'string' ? value : value.map((item) => item.replaceAll(',', '%2C')).join(',')
}

/** Encodes text that a header cannot carry, including text with outer spaces, because servers trim those. */
function asciiOnly(text: string): string {
  if (PRINTABLE.test(text) && text === text.trim() && !LIKE_AN_EXT_VALUE.test(text)) return text
  const encoded = encodeURIComponent(text.replace(/\p{Surrogate}/gu, '\ufffd'))
  return `UTF-8''${encoded.replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`
}
