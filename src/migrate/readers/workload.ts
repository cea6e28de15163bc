import type { Invocation, IsProgram, MountedFile, UnreadSource, Variable } from '../invocation.ts'
import type { ReadFile } from '../migration.ts'
import { variableToken } from '../variable.ts'
import { isStartedIn, onlyProgram, readScript, scriptOf } from './command-line.ts'
import { readService } from './compose.ts'
import { type Cursor, cursorsOf } from './cursor.ts'
import { type Word, wordsOf } from './shell.ts'

/** A ConfigMap or a Secret. */
export interface Store {
  readonly file: string
  readonly kind: string
  readonly name: string
  readonly data: ReadonlyMap<string, { readonly text: string; readonly linesBefore: number; readonly line: number }>
}

interface Context {
  readonly file: string
  readonly stores: readonly Store[]
  readonly isProgram: IsProgram
  /** Whether a container without the program's image and name counts because of this variable or flag. */
  readonly isVariable: (name: string) => boolean
  readonly isFlag: (word: string) => boolean
  readonly readFile: ReadFile
}

/**
 * Reads how Kubernetes objects, a compose file, or a part of them such as `args` and `env` start the program. Returns one
 * invocation for each container of the program, and `null` if the text is no such file.
 */
export function readWorkload(
  text: string,
  file: string,
  program: Pick<Context, 'isProgram' | 'isVariable' | 'isFlag'>,
  readFile: ReadFile,
  otherStores: readonly Store[],
): Invocation[] | null {
  const documents = cursorsOf(text)
  if (documents === null) return null
  const objects = documents.flatMap(objectsOf)
  const stores = [...objects.flatMap((object) => storeOf(object, file)), ...otherStores]
  const context = { ...program, file, readFile, stores }
  const pods = objects.flatMap((object) => podsOf(object))
  const hosts = objects.flatMap(hostsOf)
  if (pods.length > 0)
    return pods.flatMap((pod) =>
      (pod.get('containers')?.items() ?? [])
        .filter((container) => isOfProgram(container, context))
        .map((container) => ({ ...containerOf(container, pod, context), hosts })),
    )
  const services = objects.flatMap((object) => object.get('services')?.entries() ?? []).map(([, service]) => service)
  if (services.length > 0)
    return services.filter((service) => isOfProgram(service, context)).map((one) => readService(one, objects, context))
  const parts = objects.filter((object) =>
    ['args', 'env', 'envFrom', 'environment', 'command'].some((name) => object.get(name) !== undefined),
  )
  if (parts.some((part) => isOfProgram(part, context)))
    return parts.map((part) =>
      part.get('environment') === undefined ? containerOf(part, part, context) : readService(part, objects, context),
    )
  return null
}

/** Returns the ConfigMaps and Secrets of a file with Kubernetes objects; `null` for files that start a program. */
export function storesIn(text: string, file: string): Store[] | null {
  if (!/^\s*(?:-\s+)?kind:/m.test(text)) return null
  const objects = (cursorsOf(text) ?? []).filter((document) => document.isMapping()).flatMap(objectsOf)
  const areObjects = objects.length > 0 && objects.every((object) => object.get('kind') !== undefined)
  if (!areObjects || objects.some(startsProgram)) return null
  return objects.flatMap((object) => storeOf(object, file))
}

function startsProgram(object: Cursor): boolean {
  return (
    podsOf(object).length > 0 ||
    object.get('spec', 'values') !== undefined ||
    object.get('kind')?.text() === 'Application'
  )
}

/** Returns the objects of a document, also those in a `List`. */
function objectsOf(document: Cursor): Cursor[] {
  const isList = document.get('kind')?.text()?.endsWith('List') === true
  return isList ? (document.get('items')?.items() ?? []).flatMap(objectsOf) : [document]
}

function storeOf(object: Cursor, file: string): Store[] {
  const kind = object.get('kind')?.text() ?? ''
  if (kind !== 'ConfigMap' && kind !== 'Secret') return []
  const isEncoded = kind === 'Secret'
  const plain = (object.get(isEncoded ? 'stringData' : 'data')?.entries() ?? []).map(
    ([key, value]) => [key, { text: value.text() ?? '', linesBefore: value.linesBefore, line: value.line }] as const,
  )
  const encoded = (object.get(isEncoded ? 'data' : 'binaryData')?.entries() ?? []).map(
    ([key, value]) =>
      [
        key,
        {
          text: Buffer.from(value.text() ?? '', 'base64').toString(),
          // The lines of an encoded text are all on the line of its key.
          linesBefore: value.line - 1,
          line: value.line,
        },
      ] as const,
  )
  return [{ file, kind, name: object.get('metadata', 'name')?.text() ?? '', data: new Map([...encoded, ...plain]) }]
}

/** Returns the hosts of an Ingress. */
function hostsOf(object: Cursor): Word[] {
  if (object.get('kind')?.text() !== 'Ingress') return []
  return (object.get('spec', 'rules')?.items() ?? []).flatMap((rule) => {
    const host = rule.get('host')
    const text = host?.text()
    return host === undefined || text === undefined ? [] : [{ text, line: host.line }]
  })
}

/** Returns every mapping with `containers`, in any kind of object. */
function podsOf(object: Cursor): Cursor[] {
  if (object.get('containers')?.isList() === true) return [object]
  return object.entries().flatMap(([, member]) => podsOf(member))
}

function isOfProgram(container: Cursor, { isProgram, isVariable, isFlag, file, readFile }: Context): boolean {
  const variables = [
    ...(container.get('env')?.items() ?? []).map((one) => one.get('name')?.text() ?? ''),
    ...['env', 'environment'].flatMap((name) => container.get(name)?.entries() ?? []).map(([name]) => name),
    ...(container.get('environment')?.items() ?? []).map((one) => /^\w*/.exec(one.text() ?? '')?.[0] ?? ''),
  ]
  const image = container.get('image')?.text()
  if ((image !== undefined && isProgram(image)) || variables.some(isVariable)) return true
  const words = ['entrypoint', 'command', 'args'].flatMap((name) => {
    const member = container.get(name)
    const text = member?.text()
    if (text !== undefined) return wordsOf(text, 1)
    return (member?.items() ?? []).map((item) => ({ text: item.text() ?? '', line: item.line }))
  })
  const script = scriptOf(words)
  if (script !== null) return readScript(script.text, file, isProgram, readFile) !== null
  return (
    isStartedIn(words, isProgram) ||
    words.some(({ text }) => isFlag(text)) ||
    (image === undefined && words.some(({ text }) => text.startsWith('-')))
  )
}

/** Reads a container of a pod. */
function containerOf(container: Cursor, pod: Cursor, context: Context): Invocation {
  const { file } = context
  const items = (name: string): Cursor[] => container.get(name)?.items() ?? []
  const environment = readVariables(items('env'), items('envFrom'), file, context.stores)
  // A part of a chart's values may have `env` as a mapping.
  for (const [name, value] of container.get('env')?.entries() ?? [])
    environment.variables.push({ name, value: value.text() ?? '', file, line: value.line })
  const variables = new Map(environment.variables.map((variable) => [variable.name, variable]))
  const used = new Set(
    [...variables.keys()].filter((name) =>
      [...items('command'), ...items('args'), ...items('env')].some(
        (item) => (item.text() ?? item.get('value')?.text())?.includes(`$(${name})`) === true,
      ),
    ),
  )
  const words = [...items('command'), ...items('args')].map((item) => ({
    text: referencesOf(item.text() ?? '', variables),
    line: item.linesBefore + 1,
  }))
  return onlyProgram(
    { file, words, files: mountedFiles(container, pod, context), used, ...environment },
    context.isProgram,
    context.readFile,
  )
}

/** Reads `env` and `envFrom` of a container. */
export function readVariables(
  env: readonly Cursor[],
  envFrom: readonly Cursor[],
  file: string,
  stores: readonly Store[] = [],
): { readonly variables: Variable[]; readonly unread: UnreadSource[] } {
  const unread: UnreadSource[] = []
  const variables = new Map<string, Variable>()
  for (const source of envFrom) {
    for (const kind of ['configMap', 'secret'] as const) {
      const reference = source.get(`${kind}Ref`)
      if (reference === undefined) continue
      const name = reference.get('name')?.text() ?? ''
      const title = `${kind === 'secret' ? 'Secret' : 'ConfigMap'} ${name}`
      const store = storeNamed(stores, kind, name)
      if (store === undefined) unread.push(unreadVariables(source, `envFrom.${kind}Ref`, title, file))
      const prefix = source.get('prefix')?.text() ?? ''
      for (const [key, { text, line }] of store?.data ?? []) {
        if (!/^[A-Za-z_]\w*$/.test(key)) continue
        const origin = { text: `key ${key} of the ${title}`, valueFrom: { [`${kind}KeyRef`]: { name, key } } }
        const variable = { name: `${prefix}${key}`, value: text, file: store?.file ?? file, line }
        variables.set(variable.name, kind === 'secret' ? { ...variable, origin } : variable)
      }
    }
  }
  for (const item of env) {
    const name = item.get('name')?.text() ?? ''
    variables.set(name, variableOf(item, name, variables, file, stores))
  }
  return { variables: [...variables.values()], unread }
}

function unreadVariables(source: Cursor, written: string, title: string, file: string): UnreadSource {
  return {
    written,
    file,
    line: source.line,
    hasVariables: true,
    text: `the variables of the ${title} are not in this file: what they set or protect is not carried over; name the file with it as well`,
  }
}

function variableOf(
  item: Cursor,
  name: string,
  before: ReadonlyMap<string, Variable>,
  file: string,
  stores: readonly Store[],
): Variable {
  const at = { name, file, line: item.line }
  const from = item.get('valueFrom')
  if (from === undefined) return { ...at, value: referencesOf(item.get('value')?.text() ?? '', before) }
  const valueFrom = from.toJS()
  for (const kind of ['secret', 'configMap'] as const) {
    const reference = from.get(`${kind}KeyRef`)
    if (reference === undefined) continue
    const [store, key] = [reference.get('name')?.text() ?? '', reference.get('key')?.text() ?? '']
    const value = storeNamed(stores, kind, store)?.data.get(key)?.text
    if (kind === 'configMap' && value !== undefined) return { ...at, value }
    const text = `key ${key} of the ${kind === 'secret' ? 'Secret' : 'ConfigMap'} ${store}`
    return { ...at, value: value ?? variableToken(name), origin: { text, valueFrom } }
  }
  const field = from.get('fieldRef', 'fieldPath')?.text() ?? from.get('resourceFieldRef', 'resource')?.text() ?? ''
  return { ...at, value: variableToken(name), origin: { text: `the field ${field} of the pod`, valueFrom } }
}

function storeNamed(stores: readonly Store[], kind: 'secret' | 'configMap', name: string): Store | undefined {
  return stores.find((store) => store.name === name && store.kind.toLowerCase() === kind.toLowerCase())
}

/** Replaces `$(NAME)`, in which `$$` stands for a dollar sign. */
function referencesOf(text: string, variables: ReadonlyMap<string, Variable>): string {
  return text.replace(/\$\$|\$\(([A-Za-z_][\w.-]*)\)/g, (whole, name: string | undefined) => {
    if (name === undefined) return '$'
    const variable = variables.get(name)
    if (variable === undefined) return whole
    return variable.origin === undefined ? variable.value : variableToken(name)
  })
}

/** Returns the files of the ConfigMaps and Secrets that a container mounts. */
function mountedFiles(container: Cursor, pod: Cursor, context: Context): MountedFile[] {
  const found: MountedFile[] = []
  const volumes = pod.get('volumes')?.items() ?? []
  for (const mount of container.get('volumeMounts')?.items() ?? []) {
    const volume = volumes.find((one) => one.get('name')?.text() === mount.get('name')?.text())
    const folder = (mount.get('mountPath')?.text() ?? '').replace(/\/$/, '')
    const subPath = mount.get('subPath')?.text()
    const projected = volume?.get('projected', 'sources')?.items() ?? []
    for (const source of [volume, ...projected]) {
      for (const kind of ['configMap', 'secret'] as const) {
        const reference = source?.get(kind)
        const name = reference?.get('name')?.text() ?? reference?.get('secretName')?.text()
        const store = name === undefined ? undefined : storeNamed(context.stores, kind, name)
        if (store === undefined) continue
        const paths = new Map(
          (reference?.get('items')?.items() ?? []).map((one) => [one.get('key')?.text(), one.get('path')?.text()]),
        )
        for (const [key, { text, linesBefore }] of store.data) {
          if (paths.size > 0 && !paths.has(key)) continue
          const path = paths.get(key) ?? key
          if (subPath !== undefined && subPath !== path) continue
          found.push({
            path: subPath === undefined ? `${folder}/${path}` : folder,
            text,
            file: store.file,
            linesBefore,
          })
        }
      }
    }
  }
  return found
}
