import type { Config } from '../../config/schema.ts'
import { isLanguageTag } from '../../config/value-types/page.ts'
import { builtIn, en, fill, type TextName, type TextValues } from '../../texts/texts.ts'

/** The texts of a page in one language. */
export interface Wording {
  /** The language tag. @see https://www.rfc-editor.org/rfc/rfc5646 */
  readonly language: string
  readonly direction: 'ltr' | 'rtl'
  /** Returns the operator's text for the first of these names that has one, or `null`. */
  own(...names: readonly string[]): string | null
  /** Returns the operator's text, otherwise the built-in one, with the values filled in. */
  text(name: TextName, values?: TextValues): string
}

type Settings = Pick<Config['pages'], 'texts' | 'languages'>

/**
 * Returns the texts in the language that the browser prefers, or in the one that the text `lang` names. Texts without
 * a translation are English.
 */
export function wordingFor({ texts, languages }: Settings, acceptLanguage: string | undefined): Wording {
  const given = new Map(Object.entries(languages).map(([tag, own]) => [tag.toLowerCase(), { tag, own }]))
  const fixed = isLanguageTag(texts['lang'] ?? '') ? texts['lang'] : undefined
  const wanted =
    fixed?.toLowerCase() ??
    findLanguage(acceptLanguage ?? '', (tag) => given.has(tag) || builtIn.has(tag)) ??
    DEFAULT_LANGUAGE
  const chain = truncated(wanted)
  const sources = [...chain.map((tag) => given.get(tag)?.own ?? {}), texts]
  const translation = chain.map((tag) => builtIn.get(tag)).find((one) => one !== undefined) ?? en
  const own = (...names: readonly string[]): string | null => {
    for (const source of sources) {
      const name = names.find((one) => Object.hasOwn(source, one))
      if (name !== undefined) return source[name] ?? null
    }
    return null
  }
  return {
    language: fixed ?? given.get(wanted)?.tag ?? wanted,
    direction: (own('dir') ?? directionOf(wanted)) === 'rtl' ? 'rtl' : 'ltr',
    own,
    text: (name, values = {}) => fill(own(name) ?? translation[name], (placeholder) => values[placeholder]),
  }
}

const DEFAULT_LANGUAGE = 'en'

/** Browsers send far fewer ranges, in a far shorter header. */
const MAX_RANGES = 30
const MAX_HEADER_LENGTH = 1_000

/**
 * Returns the first language of Accept-Language that is available, in lower case, or `null`.
 * @see https://www.rfc-editor.org/rfc/rfc4647#section-3.4
 * @see https://www.rfc-editor.org/rfc/rfc9110#section-12.5.4
 */
function findLanguage(acceptLanguage: string, isAvailable: (tag: string) => boolean): string | null {
  const ranges = acceptLanguage
    .slice(0, MAX_HEADER_LENGTH)
    .toLowerCase()
    .split(',', MAX_RANGES)
    .map((item) => {
      const [range = '', ...parameters] = item.split(';').map((part) => part.trim())
      const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice('q='.length) ?? '1'
      return { range, weight: /^[01](?:\.\d{0,3})?$/.test(weight) ? Number(weight) : 0 }
    })
  const refused = new Set(ranges.filter(({ weight }) => weight === 0).map(({ range }) => range))
  for (const { range, weight } of ranges.toSorted((a, b) => b.weight - a.weight)) {
    if (weight === 0) break
    const found = truncated(range).find((tag) => isAvailable(tag) && !refused.has(tag))
    if (found !== undefined) return found
  }
  return null
}

/**
 * Returns a language range and what is left of it without its last subtags. A single letter, which introduces the
 * subtag after it, is removed together with that subtag.
 */
function truncated(range: string): string[] {
  const tags: string[] = []
  for (let tag = range; tag !== ''; tag = tag.slice(0, Math.max(0, tag.lastIndexOf('-'))))
    if (!/(?:^|-).$/.test(tag)) tags.push(tag)
  return tags
}

const RIGHT_TO_LEFT_LANGUAGES = new Set('ar arc ckb dv fa he iw ji ks ps sd ug ur yi'.split(' '))
const RIGHT_TO_LEFT_SCRIPT = /-(?:arab|hebr|thaa|syrc|nkoo|adlm)(?:-|$)/

function directionOf(tag: string): 'ltr' | 'rtl' {
  if (RIGHT_TO_LEFT_SCRIPT.test(tag)) return 'rtl'
  const [language = '', script = ''] = tag.split('-')
  return script.length !== 4 && RIGHT_TO_LEFT_LANGUAGES.has(language) ? 'rtl' : 'ltr'
}
