import t from 'tap'
import { wordingFor } from '../../../src/http/answers/wording.ts'
import { builtIn, en, TEXT_NAMES, type TextName } from '../../../src/texts/texts.ts'

const names = Object.keys(en) as TextName[]

void t.test('the page is in the language that the browser prefers', (t) => {
  const languages = { 'it': {}, 'pt-BR': {}, 'zh-Hant': {}, 'DE-ch': {} }
  const cases: [acceptLanguage: string | undefined, expected: string][] = [
    [undefined, 'en'],
    ['', 'en'],
    ['de', 'de'],
    ['de-AT', 'de'],
    ['DE-ch', 'DE-ch'],
    ['de-CH-1996', 'DE-ch'],
    ['fr-CA,fr;q=0.9,en;q=0.8', 'fr'],
    ['ja,es-MX;q=0.7,de;q=0.9', 'de'],
    ['ja, es;q=0.5, fr;q=0.5', 'es'],
    ['en-US,en;q=0.9,de;q=0.8', 'en'],
    ['it-IT', 'it'],
    ['pt', 'en'],
    ['pt-BR-x-abl1943', 'pt-BR'],
    ['zh-hant-cn-x-private1-private2', 'zh-Hant'],
    ['de;q=0, fr;q=0.1', 'fr'],
    ['de-AT, de;q=0', 'en'],
    ['*', 'en'],
    ['*;q=0.5, es;q=0.1', 'es'],
    ['de;q=2', 'en'],
    ['de; Q=0.4 , fr ; q=0.3', 'de'],
    [';;;,,,q=1', 'en'],
    [`${'x'.repeat(5_000)},de`, 'en'],
  ]
  for (const [acceptLanguage, expected] of cases)
    t.equal(wordingFor({ texts: {}, languages }, acceptLanguage).language, expected, String(acceptLanguage))
  t.end()
})

void t.test('a hostile Accept-Language takes no time', (t) => {
  const started = performance.now()
  for (const one of [';'.repeat(16_000), 'a-'.repeat(8_000), ' '.repeat(16_000), 'a;q=0,'.repeat(2_500)])
    wordingFor({ texts: {}, languages: {} }, one)
  t.ok(performance.now() - started < 100)
  t.end()
})

void t.test('texts of a language come before texts for all languages, and those before built-in ones', (t) => {
  const settings = {
    texts: { 'forbidden': 'All.', 'button.sign_in': 'Enter' },
    languages: { 'de': { forbidden: 'Deutsch.' }, 'de-AT': { not_found: 'Nix da.' }, 'it': { forbidden: 'Italiano.' } },
  }
  const text = (name: TextName, language: string): string => wordingFor(settings, language).text(name)
  t.equal(text('forbidden', 'de'), 'Deutsch.')
  t.equal(text('forbidden', 'fr'), 'All.')
  t.equal(text('button.sign_in', 'de'), 'Enter')
  t.equal(text('not_found', 'de-AT'), 'Nix da.')
  t.equal(text('forbidden', 'de-AT'), 'Deutsch.')
  t.equal(text('signed_out', 'de-AT'), 'Sie sind abgemeldet.')
  t.equal(text('forbidden', 'it'), 'Italiano.')
  t.equal(text('signed_out', 'it'), 'You are signed out.')
  t.end()
})

void t.test('the text `lang` is the language of all pages', (t) => {
  const wording = wordingFor({ texts: { lang: 'de-CH' }, languages: {} }, 'fr')
  t.equal(wording.language, 'de-CH')
  t.equal(wording.text('button.sign_out'), 'Abmelden')
  t.equal(wordingFor({ texts: { lang: '"> x' }, languages: {} }, 'fr').language, 'fr', 'which is a language tag')
  t.end()
})

void t.test('right-to-left languages have their direction, unless a text says otherwise', (t) => {
  const direction = (tag: string, own = {}): string =>
    wordingFor({ texts: {}, languages: { [tag]: own } }, tag).direction
  for (const tag of ['ar', 'he-IL', 'fa', 'ur', 'az-Arab', 'pa-Arab-PK']) t.equal(direction(tag), 'rtl', tag)
  for (const tag of ['de', 'it', 'ks-Deva', 'az-Latn', 'ara']) t.equal(direction(tag), 'ltr', tag)
  t.equal(direction('it', { dir: 'rtl' }), 'rtl')
  t.equal(direction('ar', { dir: 'ltr' }), 'ltr')
  t.end()
})

/** Returns the texts that do not pass, as `language: name: text`. */
function failing(passes: (text: string, name: TextName, language: string) => boolean): string[] {
  return [...builtIn].flatMap(([language, texts]) =>
    names.filter((name) => !passes(texts[name], name, language)).map((name) => `${language}: ${name}: ${texts[name]}`),
  )
}

void t.test('each built-in language has all texts, in its own words and with the same placeholders', (t) => {
  t.same([...builtIn.keys()], ['en', 'de', 'fr', 'es'])
  for (const [language, texts] of builtIn) t.same(Object.keys(texts), names, language)
  t.same(
    failing((text, name, language) => language === 'en' || text !== en[name]),
    [],
    'no text is left in English',
  )
  t.same(
    failing((text, name) => String(placeholders(text)) === String(placeholders(en[name]))),
    [],
  )
  t.same(
    failing((text) => /^\S[^]*\S$/.test(text) && !/\s\s/.test(text)),
    [],
  )
  const isSentence = (name: TextName): boolean => !/\.title$|^button\.|^(?:request|contact)$/.test(name)
  t.same(
    failing((text, name) => text.endsWith('.') === isSentence(name)),
    [],
    'sentences end with a period, titles and buttons do not',
  )
  t.ok(names.every((name) => TEXT_NAMES.includes(name)))
  t.end()
})

void t.test('each language has one vocabulary and the typography of its writers', (t) => {
  const wrong: Readonly<Record<string, RegExp>> = {
    en: /\blog(?:ged)?[ -]?(?:in|out|on|off)\b|e-mail|["']/i,
    de: /einlogg|auslogg|eingelogg|ausgelogg|login|logout|\b(?:du|dein|dich|dir)\b|["']/i,
    fr: /s’identifier|authentifi|\btu\b|["']|[^\u202F][;?!]|[^\u00A0][:»]|«(?!\u00A0)/i,
    es: /autentic|loguear|conectar|\btu\b|["']|^[^¿]*\?|^[^¡]*!/i,
  }
  t.same(
    failing((text, _name, language) => wrong[language]?.test(text) === false),
    [],
  )
  t.end()
})

function placeholders(text: string): string[] {
  return (text.match(/\{\w+\}/g) ?? []).toSorted()
}
