import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve as absolute, dirname } from 'node:path'
import type { TSchema } from 'typebox'
import { check } from './checks/index.ts'
import { FILE_VARIABLE, readSettings, type Setting, splitList, variableName, variables } from './environment.ts'
import { type Sources, withoutFinalNewlines } from './interpolate.ts'
import { formatKeyPath, isMapping, type KeyPath, valueAt, withValue } from './key-path.ts'
import { checkedProvider, withPreset } from './presets/apply.ts'
import { newAssertionKey } from './private-key.ts'
import { ConfigurationError, type Finding, formatProblems, type Problem } from './problems.ts'
import { resolve, UNREADABLE, type ResolveContext } from './resolve.ts'
import {
  type Config,
  type ProviderSection,
  type ResolvedConfig,
  type ResolvedRoute,
  type Route,
  schema,
  type SessionSettings,
} from './schema.ts'
import { shapeOf } from './schema-nodes.ts'
import { placeholdersIn, TOKEN_ALONE } from './value-types/http.ts'
import { readYaml, type YamlText } from './yaml.ts'

type Environment = Readonly<Record<string, string | undefined>>

interface LoadOptions {
  readonly file?: string | undefined
  readonly env: Environment
  /** Receives the path of every file that is read or looked up, even if loading fails. */
  readonly files?: Set<string>
  /** The session key for a configuration that has none; random by default. */
  readonly fallbackKey?: Buffer
  /** The key for assertions, as PEM, for a configuration that has none; random by default. */
  readonly fallbackAssertionKey?: string
}

const REASONS: Partial<Record<string, string>> = {
  ENOENT: 'no such file',
  EACCES: 'permission denied',
  EISDIR: 'it is a directory',
  ENOTDIR: 'no such directory',
}

type Read = (path: string) => { content: Buffer } | { reason: string }

function readBytes(path: string): ReturnType<Read> {
  try {
    return { content: readFileSync(path) }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    return { reason: REASONS[code] ?? code }
  }
}

function textOf(read: ReturnType<Read>): { text: string } | { reason: string } {
  return 'content' in read ? { text: read.content.toString('utf8') } : read
}

interface Written {
  readonly file: string | null
  readonly read: Read
  yaml: YamlText | null
  value: unknown
  readonly setBy: Map<string, Setting>
  readonly problems: Problem[]
  readonly misspelled: Problem[]
  readonly warnings: string[]
}

function readFile(file: string | null, written: Written): void {
  if (file === null) return
  const read = textOf(written.read(file))
  const problem = (line: number | null, column: number | null, message: string, instead: string | null) => {
    written.problems.push({ file, line, column, path: '', message, instead })
  }
  if ('reason' in read) {
    return problem(null, null, `cannot be read: ${read.reason}`, 'give the path of a YAML file with --config')
  }
  const yaml = readYaml(read.text, (value) => countMisplaced(schema, value))
  for (const { line, column, message, instead } of yaml.problems) problem(line, column, message, instead)
  if (yaml.problems.length > 0) return
  if (yaml.value !== null && !isMapping(yaml.value)) {
    return problem(1, 1, 'must be a map of keys', 'begin with "publicUrl: "')
  }
  written.yaml = yaml
  written.value = yaml.value ?? {}
}

function sum(counts: readonly number[]): number {
  return counts.reduce((a, b) => a + b, 0)
}

/** Returns the number of keys at places where the schema has no key of that name. */
function countMisplaced(part: TSchema, value: unknown): number {
  const shape = shapeOf(part)
  switch (shape.type) {
    case 'leaf':
      return shape.leaf.valueType.shape === undefined && isMapping(value) ? 1 : 0
    case 'list':
      return Array.isArray(value) ? sum(value.map((item) => countMisplaced(shape.items, item))) : 1
    case 'map':
      return isMapping(value) ? sum(Object.values(value).map((entry) => countMisplaced(shape.entries, entry))) : 1
    case 'group': {
      if (!isMapping(value)) return 0
      const known = new Map(Object.entries(shape.properties))
      return sum(
        Object.entries(value).map(([key, inner]) => {
          const schemaOfKey = known.get(key)
          return schemaOfKey === undefined ? 1 : countMisplaced(schemaOfKey, inner)
        }),
      )
    }
  }
}

type SettingValue = { value: unknown } | { reason: string; instead: string | null }

function settingValue({ variable, source }: Setting, readFrom: Read): SettingValue {
  const read = 'file' in source ? textOf(readFrom(source.file)) : source
  if ('reason' in read) {
    return { reason: `names a file that cannot be read: ${read.reason}`, instead: 'give the path of a readable file' }
  }
  const text = 'file' in source ? withoutFinalNewlines(read.text) : read.text
  if (variable.shape === 'scalar') return { value: text }
  if (variable.shape === 'list') return { value: splitList(text) }
  const { value, problems } = readYaml(text)
  const [first] = problems
  return first === undefined ? { value } : { reason: first.message, instead: 'write YAML in one line' }
}

function readEnvironment(env: Environment, written: Written): void {
  const { settings, duplicates, unknown } = readSettings(env, schema)
  written.warnings.push(...unknown.map(oneLine))
  // After an error, an unknown variable may be the one that was meant to set a missing key.
  written.misspelled.push(...unknown.filter(({ instead }) => instead !== null))
  const problem = ({ name, variable }: Setting, message: string, instead: string | null) => {
    const path = formatKeyPath(variable.path)
    written.problems.push({ file: name, line: null, column: null, path, message, instead })
  }
  for (const setting of duplicates) {
    const { name } = setting.variable
    problem(setting, 'is given twice', `keep one of ${name} and ${name}_FILE`)
  }
  // The variable of a section comes before those of its keys, which override it.
  for (const setting of settings.toSorted((a, b) => a.variable.path.length - b.variable.path.length)) {
    const parsed = settingValue(setting, written.read)
    if ('reason' in parsed) problem(setting, parsed.reason, parsed.instead)
    const value = 'reason' in parsed ? UNREADABLE : parsed.value
    written.value = withValue(written.value, setting.variable.path, value)
    written.setBy.set(formatKeyPath(setting.variable.path), setting)
  }
}

/** Returns the setting from the environment that set a key or one of its parents. */
function setterOf(written: Written, path: KeyPath): Setting | undefined {
  for (let length = path.length; length > 0; length--) {
    const setting = written.setBy.get(formatKeyPath(path.slice(0, length)))
    if (setting) return setting
  }
  return undefined
}

function locate(written: Written, { path, part = 'value', message, instead = null }: Finding): Problem {
  const setter = setterOf(written, path)
  const position = setter === undefined && written.yaml !== null ? written.yaml.locate(path, part) : null
  return {
    file: setter?.name ?? written.file ?? 'environment',
    line: position?.line ?? null,
    column: position?.column ?? null,
    path: formatKeyPath(path),
    message,
    instead,
  }
}

/**
 * Applies the defaults that depend on other keys: the provider's preset, the path of the cookies, a route's upstream,
 * no token on public routes and on those that send one in `headers.set`, and `assertion` if a route sends assertions.
 */
function inherit(
  config: ResolvedConfig,
  written: unknown,
  broken: readonly KeyPath[],
  assertion: ResolvedConfig['assertion'],
): ResolvedConfig {
  const isBroken = (at: KeyPath): boolean => broken.some((path) => at.every((step, i) => path[i] === step))
  // The list is undefined if it could not be resolved, and so is each route that could not be resolved.
  const resolved: (ResolvedRoute | undefined)[] | undefined = config.routes
  const routes = resolved?.map((route, index) => {
    if (route === undefined) return route
    const grant = valueAt(written, ['routes', index, 'token', 'grant']) ?? null
    const isNone = route.access === 'public' || (!isBroken(['routes', index]) && setsToken(route))
    const token = isNone && grant === null ? { ...route.token, grant: 'none' } : route.token
    return { ...route, upstream: route.upstream ?? config.upstream, token }
  })
  const applyPreset = <P extends ProviderSection>(provider: P, at: KeyPath): P =>
    isBroken(at) ? provider : withPreset(provider)
  const { provider, providers } = config
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- missing values are those of the argument
  return {
    ...config,
    provider: provider && applyPreset(provider, ['provider']),
    providers: providers && mapValues(providers, (one, name) => applyPreset(one, ['providers', name])),
    session:
      isBroken(['session']) || isBroken(['basePath'])
        ? config.session
        : withCookiePath(config.session, config.basePath),
    assertion:
      isBroken(['routes']) || !config.routes.some(sendsAssertion) ? config.assertion : (config.assertion ?? assertion),
    routes,
  } as ResolvedConfig
}

function sendsAssertion({ headers }: ResolvedRoute): boolean {
  return Object.values(headers.set).flatMap(placeholdersIn).includes('assertion')
}

/** Returns whether `headers.set` puts a token into the header of `token`. */
function setsToken({ headers, token }: ResolvedRoute): boolean {
  return Object.entries(headers.set).some(
    ([name, template]) => name.toLowerCase() === token.header.toLowerCase() && TOKEN_ALONE.test(template),
  )
}

function mapValues<T, U>(map: Readonly<Record<string, T>>, change: (value: T, key: string) => U): Record<string, U> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value, key)]))
}

/**
 * Fills in the path of the cookies: the path above the gateway's own endpoints, so that gateways on one host never
 * share it.
 */
function withCookiePath(session: ResolvedConfig['session'], basePath: string): SessionSettings {
  const path = session.cookie.path ?? (basePath.slice(0, basePath.lastIndexOf('/')) || '/')
  return { ...session, cookie: { ...session.cookie, path } }
}

/** Returns the route with its upstream, which is not null once the rules have found no problem. */
function checkedRoute({ upstream, ...route }: ResolvedRoute): Route {
  if (upstream === null) throw new TypeError(`the route ${route.path} has no upstream`)
  return { ...route, upstream }
}

/**
 * Loads the configuration from a YAML file and the environment, which takes precedence. The file is optional.
 * @throws {ConfigurationError} with all the problems at once
 */
export function loadConfig({ file, env, files, fallbackKey, fallbackAssertionKey }: LoadOptions): {
  config: Config
  warnings: string[]
} {
  const named = file ?? withoutFinalNewlines(env[FILE_VARIABLE] ?? '')
  const written: Written = {
    file: named === '' ? null : named,
    read(path) {
      files?.add(absolute(path))
      return readBytes(path)
    },
    yaml: null,
    value: {},
    setBy: new Map(),
    problems: [],
    misspelled: [],
    warnings: [],
  }
  readFile(written.file, written)
  const isFileBroken = written.problems.length > 0
  readEnvironment(env, written)
  if (isFileBroken) throw new ConfigurationError(written.problems)
  if (written.file === null && written.setBy.size === 0)
    throw new ConfigurationError([NO_CONFIGURATION, ...written.misspelled])

  // Paths in the file are relative to the file, paths in variables to the working directory.
  const folder = written.file === null ? '.' : dirname(written.file)
  const base = (path: KeyPath): string => (setterOf(written, path) === undefined ? folder : '.')
  const settable = new Set(variables(schema).map(({ name }) => name))
  const context: ResolveContext = {
    sources(path): Sources | null {
      const setter = setterOf(written, path)
      if (setter !== undefined && setter.variable.shape !== 'yaml') return null
      return { env, readText: (name) => textOf(written.read(absolute(base(path), name))) }
    },
    readFile(name, at) {
      const path = absolute(base(at), name)
      const read = written.read(path)
      return 'content' in read ? { path, content: read.content } : `${path}: ${read.reason}`
    },
    locateFile(name, at) {
      const path = absolute(base(at), name)
      const read = readBytes(path)
      return { path, problem: 'reason' in read ? read.reason : null }
    },
    variable: (path) => (settable.has(variableName(path)) ? variableName(path) : null),
  }
  const { value, findings, broken } = resolve(schema, written.value, context)
  const { value: assertion } = resolve(schema.properties.assertion, {}, context)
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- `resolve` has parsed every key that is not in `broken` to the type in the schema
  const resolved = inherit(value as ResolvedConfig, written.value, broken, assertion as ResolvedConfig['assertion'])
  const all = [...findings, ...check(resolved, broken)]
  const errors = all.filter(({ warning }) => warning !== true)
  const problems = [...written.problems, ...errors.map((finding) => locate(written, finding))]
  if (problems.length > 0) throw new ConfigurationError([...problems.toSorted(byPosition), ...written.misspelled])

  for (const warning of all) written.warnings.push(oneLine(locate(written, warning)))
  const config: Config = {
    ...resolved,
    provider: resolved.provider && checkedProvider(resolved.provider),
    providers:
      resolved.providers &&
      mapValues(resolved.providers, (one, name) => ({ ...checkedProvider(one, name), title: one.title })),
    session: withCookiePath(resolved.session, resolved.basePath),
    routes: resolved.routes.map(checkedRoute),
  }
  if (config.session.keys.length === 0) config.session.keys = [fallbackKey ?? randomBytes(32)]
  if (config.assertion?.keys.length === 0) config.assertion.keys = [fallbackAssertionKey ?? newAssertionKey()]
  return { config, warnings: written.warnings }
}

const NO_CONFIGURATION: Problem = {
  file: 'environment',
  line: null,
  column: null,
  path: '',
  message: 'no configuration is given',
  instead:
    'give a YAML file with --config FILE, or set at least GATEHOUSE_PUBLIC_URL, GATEHOUSE_UPSTREAM, ' +
    'GATEHOUSE_PROVIDER_ISSUER, GATEHOUSE_PROVIDER_CLIENT_ID and GATEHOUSE_PROVIDER_CLIENT_SECRET',
}

function oneLine(problem: Problem): string {
  return formatProblems([problem]).replace(/\n\s+/g, '; ')
}

function byPosition(a: Problem, b: Problem): number {
  return (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
}
