import { de } from './de.ts'
import { en, type TextName, type Texts } from './en.ts'
import { es } from './es.ts'
import { fr } from './fr.ts'

export { en, type TextName } from './en.ts'

/** The values of the placeholders in a text, such as `{count}`. */
export type TextValues = Readonly<Record<string, string>>

type After<Prefix extends string> = TextName extends infer Name
  ? Name extends `${Prefix}${infer Rest}`
    ? Rest
    : never
  : never

/** The name of a text `button.NAME`. */
export type ButtonName = After<'button.'>

/** The built-in texts by language tag. */
export const builtIn: ReadonlyMap<string, Texts> = new Map(Object.entries({ en, de, fr, es }))

export function isTextName(name: string): name is TextName {
  return Object.hasOwn(en, name)
}

/** Returns an English text with its placeholders filled in. */
export function english(name: TextName, values: TextValues = {}): string {
  return fill(en[name], (placeholder) => values[placeholder])
}

/** Returns a text with its placeholders replaced. A placeholder without a value stays. */
export function fill(text: string, valueOf: (placeholder: string) => string | undefined): string {
  return text.replace(/\{(\w+)\}/g, (written, placeholder: string) => valueOf(placeholder) ?? written)
}

/** The names that `pages.languages` accepts. `silent` replaces the texts of both its cases. */
export const TEXT_NAMES: readonly string[] = ['dir', 'silent', 'silent.title', ...Object.keys(en)]
