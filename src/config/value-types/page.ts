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

/** Every page contains the style and the icon. */
const MAX_FILE_BYTES = 64 * 1024
const TOO_LARGE = 'has more than 64 kB, which every page would contain'

/** A CSS file, with its content. */
export const styleFile: ValueType<{ readonly path: string; readonly content: string }> = {
  name: 'file',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, warn, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file, not ${quote(written)}`)
    const found = read(written)
    if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable CSS file')
    if (found.content.length > MAX_FILE_BYTES) return refuse(TOO_LARGE)
    const content = found.content.toString('utf8')
    if (/@import\b/i.test(content))
      warn('has @import, which the policy of the pages blocks', 'put all styles into this file')
    return { path: found.path, content }
  },
  format: (value) => value.path,
}

/** An image as a `data:` URL, which stays as it is, or an image file, which is read. `url` is the icon as a `data:` URL. */
export const favicon: ValueType<{ readonly written: string; readonly url: string }> = {
  name: 'file or data: URL',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file or a data: URL, not ${quote(written)}`)
    if (/^data:/i.test(written)) {
      if (!/^data:image\/[^,]+,/i.test(written))
        return refuse('is not the data: URL of an image', 'write data:image/png;base64,…')
      return written.length > MAX_FILE_BYTES ? refuse(TOO_LARGE) : { written, url: written }
    }
    const found = read(written)
    if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable image')
    if (found.content.length > MAX_FILE_BYTES) return refuse(TOO_LARGE)
    const type = imageTypeOf(found.content)
    if (type === null) return refuse('is not an image', 'use an SVG, PNG, JPEG, ICO, GIF or WebP image')
    return { written, url: `data:${type};base64,${found.content.toString('base64')}` }
  },
  format: (value) => value.written,
}

/**
 * Returns the media type of an image by its content, because the name of a file may be wrong.
 * @see https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm
 */
function imageTypeOf(bytes: Buffer): string | null {
  const head = bytes.subarray(0, 12).toString('latin1')
  if (head.startsWith('\x89PNG\r\n\x1a\n')) return 'image/png'
  if (head.startsWith('\xff\xd8\xff')) return 'image/jpeg'
  if (head.startsWith('\0\0\x01\0')) return 'image/x-icon'
  if (/^GIF8[79]a/.test(head)) return 'image/gif'
  if (/^RIFF[^]{4}WEBP/.test(head)) return 'image/webp'
  const text = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .trimStart()
  return /^<(?:svg|\?xml|!--|!doctype svg)/i.test(text) && text.includes('<svg') ? 'image/svg+xml' : null
}
