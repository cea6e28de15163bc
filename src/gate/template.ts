import type { Claims } from '../oidc/token-set.ts'
import { claimAt } from './admit.ts'

type Part = { readonly text: string } | { readonly claim: string }

/** A header value with claims in it, parsed once. */
export type Template = readonly Part[]

/** Longer header values are refused by common servers. */
const MAX_BYTES = 8192

const PRINTABLE = /^[\u0020-\u007e]*$/

/** A claim that looks like an ext-value is none: whoever decodes must get back what the provider said. */
const LIKE_AN_EXT_VALUE = /^(?:utf-8|iso-8859-1)'[a-z0-9-]*'/i

/** Parses `text {claims.name} text`; the configuration has been checked before. */
export function parseTemplate(template: string): Template {
  return template
    .split(/(\{claims\.[^}]+\})/)
    .filter((part) => part !== '')
    .map((part) => (part.startsWith('{claims.') ? { claim: part.slice('{claims.'.length, -1) } : { text: part }))
}

/**
 * The header value for a user's claims: items of a list joined with `,` (one inside an item is `%2C`), what is not all
 * printable ASCII, or looks like one already, as an RFC 8187 ext-value, or the whole as base64. `null`, for no header,
 * where a claim is missing or the value would be longer than 8 kB.
 */
export function fillTemplate(template: Template, claims: Claims, encoding: 'rfc8187' | 'base64'): string | null {
  const values: (string | readonly string[])[] = []
  for (const part of template) {
    const value = 'text' in part ? part.text : asText(claimAt(claims, part.claim))
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

/** Why a template makes no header for these claims, or `null` where it makes one. */
export function whyNoHeader(template: Template, claims: Claims, encoding: 'rfc8187' | 'base64'): string | null {
  const missing = template.find((part) => 'claim' in part && asText(claimAt(claims, part.claim)) === null)
  if (missing !== undefined && 'claim' in missing) return `the claim ${missing.claim} is missing`
  return fillTemplate(template, claims, encoding) === null ? 'its value would be longer than 8 kB' : null
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

/** RFC 8187, section 3.2; leading and trailing spaces would be trimmed on the way, so they count as not printable. */
function asciiOnly(text: string): string {
  if (PRINTABLE.test(text) && text === text.trim() && !LIKE_AN_EXT_VALUE.test(text)) return text
  const encoded = encodeURIComponent(text.replace(/\p{Surrogate}/gu, '\ufffd'))
  return `UTF-8''${encoded.replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)}`
}
