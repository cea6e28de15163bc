import { parse, TomlError } from 'smol-toml'
import { membersOf, type Setting, UnreadableFile } from '../setting.ts'

/** Reads the settings of a TOML file; keys in tables have their full path. */
export function readToml(text: string, file: string): Setting[] {
  return flatten(parseToml(text, file), '').map(([key, value]): Setting => ({
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
    // The rest of the message quotes the line, which may contain a secret.
    const [reason = ''] = error.message.split('\n')
    throw new UnreadableFile(`${file}:${error.line}:${error.column}: ${reason}`)
  }
}

function flatten(value: unknown, before: string): [string, unknown][] {
  return membersOf(value).flatMap(([key, inner]): [string, unknown][] =>
    membersOf(inner).length > 0 ? flatten(inner, `${before}${key}.`) : [[`${before}${key}`, inner]],
  )
}

/** Finds the line of a key, because smol-toml does not report positions. */
function lineOf(text: string, key: string): number {
  const name = key.slice(key.lastIndexOf('.') + 1)
  const index = text.split('\n').findIndex((line) => {
    const [, bare = '', quoted = ''] = /^\s*(?:([A-Za-z0-9_.-]+)|["']([^"']+)["'])\s*=/.exec(line) ?? []
    return bare === name || quoted === name || bare === key
  })
  return index + 1
}
