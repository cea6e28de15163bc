import { parse, TomlError } from 'smol-toml'
import { type Entry, membersOf } from './entry.ts'
import { NotUnderstood } from './not-understood.ts'

/** The keys of a TOML file, those of its tables by their whole path. */
export function readToml(text: string, file: string): Entry[] {
  return flatten(parseToml(text, file), '').map(([key, value]): Entry => ({
    key,
    written: key,
    value,
    file,
    line: lineOf(text, key),
  }))
}

function parseToml(text: string, file: string): unknown {
  try {
    return parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    // Its message goes on with the line itself, and that may hold a secret.
    const [reason = ''] = error.message.split('\n')
    throw new NotUnderstood(`${file}:${error.line}:${error.column}: ${reason}`)
  }
}

function flatten(value: unknown, before: string): [string, unknown][] {
  return membersOf(value).flatMap(([key, inner]): [string, unknown][] =>
    membersOf(inner).length > 0 ? flatten(inner, `${before}${key}.`) : [[`${before}${key}`, inner]],
  )
}

/** TOML's readers keep no places; a key stands at the beginning of a line. */
function lineOf(text: string, key: string): number {
  const name = key.slice(key.lastIndexOf('.') + 1)
  const index = text.split('\n').findIndex((line) => {
    const [, bare = '', quoted = ''] = /^\s*(?:([A-Za-z0-9_.-]+)|["']([^"']+)["'])\s*=/.exec(line) ?? []
    return bare === name || quoted === name || bare === key
  })
  return index + 1
}
