import { quote, type ValueType } from '../value-type.ts'
import { text } from './scalar.ts'

/** @see https://www.rfc-editor.org/rfc/rfc5646#section-2.1 */
export const languageTag = text({
  name: 'language',
  pattern: /^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$/,
  expected: 'a language tag such as de or pt-BR',
})

/** @see https://www.w3.org/TR/css-color-4/#hex-notation */
export const color = text({
  name: 'color',
  pattern: /^(#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6})$/,
  expected: 'a color such as "#1f5fbf"',
})

/** An e-mail address, stored as a `mailto:` URL, or a URL. */
export const contact = text({
  name: 'e-mail address or URL',
  pattern: /^(mailto:\S+@\S+|https?:\/\/\S+|[^\s@:/]+@[^\s@:/]+)$/,
  expected: 'an e-mail address, or a mailto: or https URL',
  normalize: (written) => (/^[^\s@:/]+@[^\s@:/]+$/.test(written) ? `mailto:${written}` : written),
})

/** A CSS file, with its content. */
export const styleFile: ValueType<{ readonly path: string; readonly content: string }> = {
  name: 'file',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file, not ${quote(written)}`)
    const found = read(written)
    if (typeof found === 'string') return refuse(`cannot be read: ${found}`, 'give the path of a readable CSS file')
    return { path: found.path, content: found.content.toString('utf8') }
  },
  format: (value) => value.path,
}

/** An image as a `data:` URL, or an image file, which is read. */
export const favicon: ValueType<{ readonly written: string; readonly url: string }> = {
  name: 'file or data: URL',
  json: { type: 'string', minLength: 1 },
  parse(written, { refuse, read }) {
    if (typeof written !== 'string' || written === '')
      return refuse(`must be the path of a file or a data:image/ URL, not ${quote(written)}`)
    if (/^data:image\/\S+$/i.test(written)) return { written, url: written }
    const found = read(written)
    if (typeof found === 'string')
      return refuse(`cannot be read: ${found}`, 'give the path of a readable image, or a data:image/ URL')
    return { written, url: `data:${mediaTypeOf(found.path)};base64,${found.content.toString('base64')}` }
  },
  format: (value) => value.written,
}

function mediaTypeOf(path: string): string {
  const extension = /\.(\w+)$/.exec(path)?.[1]?.toLowerCase()
  if (extension === 'svg') return 'image/svg+xml'
  return extension === 'ico' ? 'image/x-icon' : 'image/png'
}
