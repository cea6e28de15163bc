import type { Invocation, IsProgram, MountedFile, UnreadSource, Variable } from '../invocation.ts'
import type { ReadFile } from '../migration.ts'
import { variableToken } from '../variable.ts'
import { defaultOf, onlyProgram, unreadFile } from './command-line.ts'
import { type Cursor, cursorsOf } from './cursor.ts'
import { variablesOf } from './environment.ts'
import { BRACED_OR_BARE, expanded, wordsOf } from './shell.ts'

interface Context {
  readonly file: string
  readonly isProgram: IsProgram
  readonly readFile: ReadFile
}

/**
 * Reads the services of a compose file that run the program. Services that others extend come last. `objects` are the
 * documents of the file, which define its `configs` and `secrets`.
 */
export function readServices(
  services: readonly Cursor[],
  objects: readonly Cursor[],
  isOfProgram: (service: Cursor) => boolean,
  context: Context,
): Invocation[] {
  const chains = services.map((service) => basesOf({ service, objects, file: context.file }, context.readFile))
  const bases = new Set(chains.flatMap((chain) => chain.slice(0, -1).map(({ service }) => service.line)))
  const isBase = (chain: readonly ServicePart[]): boolean => bases.has(chain.at(-1)?.service.line ?? 0)
  return chains
    .filter((chain) => chain.some(({ service }) => isOfProgram(service)))
    .toSorted((one, other) => Number(isBase(one)) - Number(isBase(other)))
    .map((chain) => readService(chain, context))
}

/** A service of a compose file, or one that it extends. */
interface ServicePart {
  readonly service: Cursor
  readonly objects: readonly Cursor[]
  readonly file: string
  /** The file of a service that cannot be read. */
  readonly missing?: string
}

const MAX_BASES = 16

/** Returns the services that a service extends, the outermost first, and the service itself. */
function basesOf(part: ServicePart, readFile: ReadFile, depth = 0): ServicePart[] {
  const base = part.service.get('extends')
  if (base === undefined || depth > MAX_BASES) return [part]
  const name = base.text() ?? base.get('service')?.text() ?? ''
  const path = base.get('file')?.text()
  const text = path === undefined ? null : readFile(path, part.file)
  const objects = path === undefined ? part.objects : ((text === null ? null : cursorsOf(text)) ?? [])
  const service = objects.map((object) => object.get('services', name)).find((one) => one !== undefined)
  if (service === undefined) return [{ ...part, missing: path ?? `the service ${name}` }]
  return [...basesOf({ service, objects, file: path ?? part.file }, readFile, depth + 1), part]
}

/** Reads a service of a compose file, from the services that it extends and its own part, which is the last one. */
export function readService(parts: readonly ServicePart[], context: Context): Invocation {
  const { file, isProgram, readFile } = context
  const dotenv = readFile('.env', file)
  const shared = new Map(dotenv === null ? [] : variablesOf(dotenv, '.env').map(({ name, value }) => [name, value]))
  const unread: UnreadSource[] = []
  const interpolation =
    (from: string): Interpolate =>
    (text, line) =>
      text.replace(BRACED_OR_BARE, (_, braced?: string, operator?: string, value?: string, bare?: string) => {
        const name = braced ?? bare
        if (name === undefined) return '$'
        const defaultValue = operator?.endsWith('-') === true ? value : undefined
        if (defaultValue !== undefined && !shared.has(name)) unread.push(defaultOf(name, line, from))
        return expanded(name, defaultValue, (one) => shared.get(one))
      })
  const fromFiles = new Map<string, Variable>()
  const variables = new Map<string, Variable>()
  for (const { service, file: from, missing } of parts) {
    const interpolated = interpolation(from)
    const extended = service.get('extends')
    if (missing !== undefined && extended !== undefined)
      unread.push(unreadFile(missing, 'extends', extended.line, from))
    const envFile = service.get('env_file')
    const envFiles = envFile === undefined ? [] : envFile.isList() ? envFile.items() : [envFile]
    for (const entry of envFiles) {
      const path = interpolated(entry.text() ?? entry.get('path')?.text() ?? '', entry.line)
      const text = readFile(path, from)
      if (text === null) unread.push(unreadFile(path, 'env_file', entry.line, from))
      for (const one of text === null ? [] : variablesOf(text, path)) fromFiles.set(one.name, one)
    }
    const set = (name: string, value: string | undefined, line: number): void => {
      const given = value === undefined ? (shared.get(name) ?? variableToken(name)) : interpolated(value, line)
      variables.set(name, { name, value: given, file: from, line })
    }
    const environment = service.get('environment')
    for (const [name, value] of environment?.entries() ?? []) set(name, value.text(), value.line)
    for (const item of environment?.items() ?? []) {
      const [, name = '', , value] = /^([^=]*)(=([^]*))?$/.exec(item.text() ?? '') ?? []
      set(name, value, item.line)
    }
  }
  const words = ['entrypoint', 'command'].flatMap((name) => {
    const part = parts.findLast(({ service }) => service.get(name) !== undefined)
    const member = part?.service.get(name)
    if (part === undefined || member === undefined) return []
    const interpolated = interpolation(part.file)
    const text = member.text()
    if (text !== undefined) return wordsOf(interpolated(text, member.line), member.linesBefore + 1)
    return member
      .items()
      .map((item) => ({ text: interpolated(item.text() ?? '', item.line), line: item.linesBefore + 1 }))
  })
  const files = parts.flatMap((part) => composeFiles(part, context, interpolation(part.file)))
  const all = [...new Map([...fromFiles, ...variables]).values()]
  const own = parts.findLast(({ service }) => ['entrypoint', 'command'].some((name) => service.get(name) !== undefined))
  return onlyProgram({ file: own?.file ?? file, words, variables: all, files, unread }, isProgram, readFile)
}

type Interpolate = (text: string, line: number) => string

/** Returns the files that a service mounts, from `volumes`, `configs` and `secrets`. */
function composeFiles(
  { service, objects, file }: ServicePart,
  { readFile }: Context,
  interpolated: Interpolate,
): MountedFile[] {
  const found: MountedFile[] = []
  const add = (path: string, source: string): void => {
    const text = readFile(source, file)
    if (text !== null) found.push({ path, text, file: source, linesBefore: 0 })
  }
  for (const volume of service.get('volumes')?.items() ?? []) {
    const [source = '', target = ''] = interpolated(volume.text() ?? '', volume.line).split(':')
    const from = volume.get('source')?.text() ?? source
    add(volume.get('target')?.text() ?? target, interpolated(from, volume.line))
  }
  for (const kind of ['configs', 'secrets'] as const) {
    for (const item of service.get(kind)?.items() ?? []) {
      const name = item.text() ?? item.get('source')?.text() ?? ''
      const definition = objects.map((object) => object.get(kind, name)).find((one) => one !== undefined)
      const path = item.get('target')?.text() ?? (kind === 'secrets' ? `/run/secrets/${name}` : `/${name}`)
      const content = definition?.get('content')
      const text = content?.text()
      if (content !== undefined && text !== undefined)
        found.push({ path, text: interpolated(text, content.line), file, linesBefore: content.linesBefore })
      else add(path, interpolated(definition?.get('file')?.text() ?? '', item.line))
    }
  }
  return found
}
