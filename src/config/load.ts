import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve as absolute, dirname } from 'node:path'
import { check } from './check.ts'
import type { Finding } from './checks/rule.ts'
import { readYaml, type YamlText } from './document.ts'
import { fileVariable, readSettings, type Setting, splitList, variableName, variables } from './environment.ts'
import type { Sources } from './interpolate.ts'
import { ConfigurationError, formatPath, formatProblems, type Path, type Problem } from './problems.ts'
import { type Mistake, resolve, unreadable } from './resolve.ts'
import { type Config, type Route, schema } from './schema.ts'
import { isMapping, valueAt, withValue } from './tree.ts'

type Environment = Readonly<Record<string, string | undefined>>

interface From {
  file?: string | undefined
  env: Environment
  /** Gets the path of every file that is looked at, also where that or the rest fails. */
  files?: Set<string>
  /** The session key where none is given; a random one without it. */
  spareKey?: Buffer
}

const reasons: Partial<Record<string, string>> = {
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
    return { reason: reasons[code] ?? code }
  }
}

function textOf(read: ReturnType<Read>): { text: string } | { reason: string } {
  return 'content' in read ? { text: read.content.toString('utf8') } : read
}

/** What has been written so far, and who wrote it. */
interface Written {
  file: string | null
  read: Read
  yaml: YamlText | null
  value: unknown
  /** The variable that set a key, by the key's path. */
  setBy: Map<string, Setting>
  problems: Problem[]
  warnings: string[]
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
  const yaml = readYaml(read.text)
  for (const { line, column, message, instead } of yaml.problems) problem(line, column, message, instead)
  if (yaml.problems.length > 0) return
  if (yaml.value !== null && !isMapping(yaml.value)) {
    return problem(1, 1, 'must be a map of keys', 'begin with "publicUrl: "')
  }
  written.yaml = yaml
  written.value = yaml.value ?? {}
}

type SettingValue = { value: unknown } | { reason: string; instead: string | null }

function settingValue({ variable, source }: Setting, readFrom: Read): SettingValue {
  const read = 'file' in source ? textOf(readFrom(source.file)) : source
  if ('reason' in read) {
    return { reason: `names a file that cannot be read: ${read.reason}`, instead: 'give the path of a readable file' }
  }
  const text = 'file' in source ? read.text.replace(/[\r\n]+$/, '') : read.text
  if (variable.shape === 'scalar') return { value: text }
  if (variable.shape === 'list') return { value: splitList(text) }
  const { value, problems } = readYaml(text)
  const [first] = problems
  return first === undefined ? { value } : { reason: first.message, instead: 'write YAML in one line' }
}

function readEnvironment(env: Environment, written: Written): void {
  const { settings, doubles, warnings } = readSettings(env, schema)
  written.warnings.push(...warnings)
  const note = ({ name, variable }: Setting, message: string, instead: string | null) => {
    written.problems.push({ file: name, line: null, column: null, path: formatPath(variable.path), message, instead })
  }
  for (const setting of doubles) {
    const { name } = setting.variable
    note(setting, 'is given twice', `keep one of ${name} and ${name}_FILE`)
  }
  // A section's own variable comes before those of its keys, which say more.
  for (const setting of settings.toSorted((a, b) => a.variable.path.length - b.variable.path.length)) {
    const parsed = settingValue(setting, written.read)
    if ('reason' in parsed) note(setting, parsed.reason, parsed.instead)
    const value = 'reason' in parsed ? unreadable : parsed.value
    written.value = withValue(written.value, setting.variable.path, value)
    written.setBy.set(formatPath(setting.variable.path), setting)
  }
}

function setterOf(written: Written, path: Path): Setting | undefined {
  for (let length = path.length; length > 0; length--) {
    const setting = written.setBy.get(formatPath(path.slice(0, length)))
    if (setting) return setting
  }
  return undefined
}

function place(written: Written, { path, part, message, instead }: Mistake): Problem {
  const setter = setterOf(written, path)
  const position = setter === undefined && written.yaml !== null ? written.yaml.locate(path, part) : null
  return {
    file: setter?.name ?? written.file ?? 'environment',
    line: position?.line ?? null,
    column: position?.column ?? null,
    path: formatPath(path),
    message,
    instead,
  }
}

/** Fills in what depends on other keys: the upstream that a route inherits, and no token on public routes. */
function inherit(config: Config, given: unknown): Config {
  // Both are missing where they could not be resolved.
  const resolved: (Route | undefined)[] | undefined = config.routes
  const routes = resolved?.map((route, index) => {
    if (route === undefined) return route
    const asked = valueAt(given, ['routes', index, 'token', 'grant']) ?? null
    const token = route.access === 'public' && asked === null ? { ...route.token, grant: 'none' } : route.token
    return { ...route, upstream: route.upstream ?? config.upstream, token }
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- as broken as before, and as typed
  return { ...config, routes } as Config
}

function warn(written: Written, finding: Finding): void {
  const placed = place(written, { part: 'value', instead: null, ...finding })
  written.warnings.push(formatProblems([placed]).replace(/\n\s+/g, '; '))
}

/**
 * Loads the configuration from a YAML file and the environment, which wins; without a file, from the environment alone.
 * @throws {ConfigurationError} with all the problems at once
 */
export function loadConfig({ file, env, files, spareKey }: From): { config: Config; warnings: string[] } {
  const named = file ?? env[fileVariable]
  const written: Written = {
    file: named === undefined || named === '' ? null : named,
    read(path) {
      files?.add(absolute(path))
      return readBytes(path)
    },
    yaml: null,
    value: {},
    setBy: new Map(),
    problems: [],
    warnings: [],
  }
  readFile(written.file, written)
  const unread = written.problems.length > 0
  readEnvironment(env, written)
  if (unread) throw new ConfigurationError(written.problems)
  if (written.file === null && written.setBy.size === 0) throw new ConfigurationError([nothingGiven])

  const folder = written.file === null ? '.' : dirname(written.file)
  const base = (path: Path): string => (setterOf(written, path) === undefined ? folder : '.')
  const sources = (path: Path): Sources | null => {
    const setter = setterOf(written, path)
    if (setter !== undefined && setter.variable.shape !== 'yaml') return null
    return { env, readText: (name) => textOf(written.read(absolute(base(path), name))) }
  }
  const settable = new Set(variables(schema).map(({ name }) => name))
  const { value, mistakes, broken } = resolve(schema, written.value, {
    sources,
    readFile(name, at) {
      const path = absolute(base(at), name)
      const read = written.read(path)
      return 'content' in read ? { path, content: read.content } : `${path}: ${read.reason}`
    },
    variable: (path) => (settable.has(variableName(path)) ? variableName(path) : null),
  })
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the walk gave every key that is not broken its type
  const config = inherit(value as Config, written.value)
  const findings = check(config, broken)
  const wrong: Mistake[] = findings
    .filter(({ warning }) => warning !== true)
    .map((finding) => ({ part: 'value', instead: null, ...finding }))
  const problems = [...written.problems, ...[...mistakes, ...wrong].map((mistake) => place(written, mistake))]
  if (problems.length > 0) throw new ConfigurationError(problems.toSorted(byPlace))

  if (config.session.keys.length === 0) config.session.keys = [spareKey ?? randomBytes(32)]
  for (const finding of findings) warn(written, finding)
  return { config, warnings: written.warnings }
}

const nothingGiven: Problem = {
  file: 'environment',
  line: null,
  column: null,
  path: '',
  message: 'no configuration is given',
  instead:
    'give a YAML file with --config FILE, or set at least GATEHOUSE_PUBLIC_URL, GATEHOUSE_UPSTREAM, ' +
    'GATEHOUSE_PROVIDER_ISSUER, GATEHOUSE_PROVIDER_CLIENT_ID and GATEHOUSE_PROVIDER_CLIENT_SECRET',
}

const byPlace = (a: Problem, b: Problem): number => (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
