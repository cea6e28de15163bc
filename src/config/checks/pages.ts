import { TEXT_NAMES } from '../../texts/texts.ts'
import type { KeyPath } from '../key-path.ts'
import type { Finding } from '../problems.ts'
import type { ResolvedConfig } from '../schema.ts'
import { suggest } from '../suggest.ts'
import { quote } from '../value-type.ts'
import { isLanguageTag } from '../value-types/page.ts'
import type { Rule } from './rule.ts'

function findUnknownTexts({ pages: { texts, languages } }: ResolvedConfig): Finding[] {
  return [
    ...unknownIn(texts, ['pages', 'texts'], [...TEXT_NAMES, 'lang']),
    ...Object.entries(languages).flatMap(([language, own]) =>
      unknownIn(own, ['pages', 'languages', language], TEXT_NAMES),
    ),
  ]
}

function unknownIn(texts: Readonly<Record<string, string>>, at: KeyPath, known: readonly string[]): Finding[] {
  return Object.keys(texts)
    .filter((name) => !known.includes(name))
    .map((name) => {
      const near = suggest(name, known)
      const instead = near === null ? 'docs/browser.md lists the names' : `did you mean ${near}?`
      return { path: [...at, name], part: 'key', message: 'is not a text of the pages', instead, warning: true }
    })
}

function findLanguage({ pages: { texts } }: ResolvedConfig): Finding[] {
  const { lang } = texts
  if (lang === undefined || isLanguageTag(lang)) return []
  const message = `${quote(lang)} is not a language tag and has no effect`
  return [{ path: ['pages', 'texts', 'lang'], message, instead: 'write a tag such as de or pt-BR', warning: true }]
}

export const pageRules: readonly Rule[] = [
  { reads: ['pages.texts', 'pages.languages'], find: findUnknownTexts },
  { reads: ['pages.texts'], find: findLanguage },
]
