import { quote, type ValueType } from '../value-type.ts'
import { text } from './scalar.ts'

/** @see https://www.rfc-editor.org/rfc/rfc5646#section-2.1 */
const LANGUAGE_TAG = /^[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8})*$/

export function isLanguageTag(written: string): boolean {
  return LANGUAGE_TAG.test(written)
}

export const languageTag = text({
  name: 'language',
  pattern: LANGUAGE_TAG,
  expected: 'a language tag such as de or pt-BR',
})

/** An email address, stored as a `mailto:` URL, or a URL. */
export const contact = text({
  name: 'email address or URL',
  pattern: /^(mailto:\S+@\S+|https?:\/\/\S+|[^\s@:/]+@[^\s@:/]+)$/,
  expected: 'an email address, or a mailto:, http or https URL',
  normalize: (written) => (/^[^\s@:/]+@[^\s@:/]+$/.test(written) ? `mailto:${written}` : written),
})

/** Every page contains the style and the icon. */
const MAX_FILE_BYTES = 64 * 1024

/** A CSS file, with its content. */
export const styleFile: ValueType<{ readonly path: string; readonly content: string }> = {
  name: 'file',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, warn, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file, not ${quote(written)}`)
    const found = read(written)
    if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable CSS file')
    if (found.content.length > MAX_FILE_BYTES) return refuse('has more than 64 kB, which every page would contain')
    const content = found.content.toString('utf8')
    if (/@import\b/i.test(content))
      warn('has @import, which the policy of the pages blocks', 'put all styles into this file')
    return { path: found.path, content }
  },
  format: (value) => value.path,
}

/** An image as a `data:` URL, or an image file, which is read. `url` is the icon as a `data:` URL in base64. */
export const favicon: ValueType<{ readonly written: string; readonly url: string }> = {
  name: 'file or data: URL',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file or a data: URL, not ${quote(written)}`)
    const found = /^data:/i.test(written) ? bytesOfDataUrl(written) : read(written)
    if (found === null) return refuse('is not a well-formed data: URL', 'write data:image/png;base64,…')
    if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable image')
    const bytes = Buffer.isBuffer(found) ? found : found.content
    if (bytes.length > MAX_FILE_BYTES) return refuse('has more than 64 kB, which every page would contain')
    const type = imageTypeOf(bytes)
    if (type === null) return refuse('is not an image', 'use an SVG, PNG, ICO, GIF or WebP image')
    return { written, url: `data:${type};base64,${bytes.toString('base64')}` }
  },
  format: (value) => value.written,
}

/** @see https://www.rfc-editor.org/rfc/rfc2397#section-2 */
function bytesOfDataUrl(url: string): Buffer | null {
  const comma = url.indexOf(',')
  if (comma === -1) return null
  try {
    const data = decodeURIComponent(url.slice(comma + 1))
    return /;\s*base64\s*$/i.test(url.slice(0, comma)) ? Buffer.from(data, 'base64') : Buffer.from(data, 'utf8')
  } catch {
    return null
  }
}

/**
 * Returns the media type of an image by its content, because the name of a file may be wrong.
 * @see https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm
 */
function imageTypeOf(bytes: Buffer): string | null {
  const head = bytes.subarray(0, 12).toString('latin1')
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (head.startsWith('\0\0\x01\0')) return 'image/x-icon'
  if (/^GIF8[79]a/.test(head)) return 'image/gif'
  if (/^RIFF[^]{4}WEBP/.test(head)) return 'image/webp'
  const text = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimStart()
  return /^<(?:svg|\?xml|!--|!doctype svg)/i.test(text) && text.includes('<svg') ? 'image/svg+xml' : null
}
