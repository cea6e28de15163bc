import { en } from '../src/texts/texts.ts'
import { cell } from './reference.ts'

/** Fills the page with the table of the texts and their English words. */
export function withTextTable(text: string): string {
  const rows = Object.entries(en).map(([name, words]) => `| \`${name}\` | ${cell(words)} |`)
  return text.replace(
    /(<!-- texts -->\n)[^]*?(<!-- end of texts -->)/,
    (_, start: string, end: string) => `${start}\n| Name | English text |\n| --- | --- |\n${rows.join('\n')}\n\n${end}`,
  )
}
