import type { Invocation, IsProgram, MountedFile, UnreadSource, Variable } from '../invocation.ts'
import type { ReadFile } from '../migration.ts'
import { variableToken } from '../variable.ts'
import { defaultOf, onlyProgram, unreadFile } from './command-line.ts'
import type { Cursor } from './cursor.ts'
import { variablesOf } from './environment.ts'
import { BRACED_OR_BARE, expanded, wordsOf } from './shell.ts'

interface Context {
  readonly file: string
  readonly isProgram: IsProgram
  readonly readFile: ReadFile
}

/** Reads a service of a compose file. `objects` are the documents of the file, which define its `configs` and `secrets`. */
export function readService(service: Cursor, objects: readonly Cursor[], context: Context): Invocation {
  const { file, isProgram, readFile } = context
  const dotenv = readFile('.env', file)
  const shared = new Map(dotenv === null ? [] : variablesOf(dotenv, '.env').map(({ name, value }) => [name, value]))
  const unread: UnreadSource[] = []
  const interpolated = (text: string, line = service.line): string =>
    text.replace(BRACED_OR_BARE, (_, braced?: string, operator?: string, value?: string, bare?: string) => {
      const name = braced ?? bare
      if (name === undefined) return '$'
      const defaultValue = operator?.endsWith('-') === true ? value : undefined
      if (defaultValue !== undefined && !shared.has(name)) unread.push(defaultOf(name, line, file))
      return expanded(name, defaultValue, (one) => shared.get(one))
    })
  const variables = new Map<string, Variable>()
  const envFile = service.get('env_file')
  const envFiles = envFile === undefined ? [] : envFile.isList() ? envFile.items() : [envFile]
  for (const entry of envFiles) {
    const path = interpolated(entry.text() ?? entry.get('path')?.text() ?? '')
    const text = readFile(path, file)
    if (text === null) unread.push(unreadFile(path, 'env_file', entry.line, file))
    for (const one of text === null ? [] : variablesOf(text, path)) variables.set(one.name, one)
  }
  const environment = service.get('environment')
  for (const [name, value] of environment?.entries() ?? []) {
    const text = value.text()
    variables.set(name, {
      name,
      value: text === undefined ? (shared.get(name) ?? variableToken(name)) : interpolated(text, value.line),
      file,
      line: value.line,
    })
  }
  for (const item of environment?.items() ?? []) {
    const [, name = '', , value] = /^([^=]*)(=([^]*))?$/.exec(item.text() ?? '') ?? []
    variables.set(name, {
      name,
      value: value === undefined ? (shared.get(name) ?? variableToken(name)) : interpolated(value, item.line),
      file,
      line: item.line,
    })
  }
  const words = ['entrypoint', 'command'].flatMap((name) => {
    const member = service.get(name)
    if (member === undefined) return []
    const text = member.text()
    if (text !== undefined) return wordsOf(interpolated(text, member.line), member.linesBefore + 1)
    return member
      .items()
      .map((item) => ({ text: interpolated(item.text() ?? '', item.line), line: item.linesBefore + 1 }))
  })
  const files = composeFiles(service, objects, context, interpolated)
  return onlyProgram({ file, words, variables: [...variables.values()], files, unread }, isProgram, readFile)
}

/** Returns the files that a service mounts, from `volumes`, `configs` and `secrets`. */
function composeFiles(
  service: Cursor,
  objects: readonly Cursor[],
  { file, readFile }: Context,
  interpolated: (text: string) => string,
): MountedFile[] {
  const found: MountedFile[] = []
  const add = (path: string, source: string): void => {
    const text = readFile(source, file)
    if (text !== null) found.push({ path, text, file: source, linesBefore: 0 })
  }
  for (const volume of service.get('volumes')?.items() ?? []) {
    const [source = '', target = ''] = interpolated(volume.text() ?? '').split(':')
    const from = volume.get('source')?.text() ?? source
    add(volume.get('target')?.text() ?? target, interpolated(from))
  }
  for (const kind of ['configs', 'secrets'] as const) {
    for (const item of service.get(kind)?.items() ?? []) {
      const name = item.text() ?? item.get('source')?.text() ?? ''
      const definition = objects.map((object) => object.get(kind, name)).find((one) => one !== undefined)
      const path = item.get('target')?.text() ?? (kind === 'secrets' ? `/run/secrets/${name}` : `/${name}`)
      const content = definition?.get('content')
      const text = content?.text()
      if (content !== undefined && text !== undefined)
        found.push({ path, text: interpolated(text), file, linesBefore: content.linesBefore })
      else add(path, interpolated(definition?.get('file')?.text() ?? ''))
    }
  }
  return found
}
