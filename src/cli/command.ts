import { randomBytes } from 'node:crypto'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { loadConfig } from '../config/load.ts'
import { newAssertionKey } from '../config/private-key.ts'
import { suggest } from '../config/suggest.ts'

export interface Command {
  readonly help: string
  /** Runs the command and resolves with the exit status. */
  run(args: readonly string[]): Promise<number>
}

export class UsageError extends Error {}

/**
 * Parses arguments.
 * @throws {UsageError} with one line that says what to write instead
 */
export function readArguments<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  const { args, options = {}, allowPositionals = false } = config
  // The messages of a strict `parseArgs` take several lines and suggest nothing.
  const { tokens } = parseArgs({ args: args ?? [], options, allowPositionals: true, strict: false, tokens: true })
  for (const token of tokens) {
    if (token.kind === 'positional' && !allowPositionals)
      throw new UsageError(`the argument "${token.value}" is not expected${argumentAdvice(token.value, options)}`)
    if (token.kind === 'option') checkOption(token, options)
  }
  return parseArgs<T>(config)
}

type Options = NonNullable<ParseArgsConfig['options']>
type OptionToken = {
  readonly name: string
  readonly rawName: string
  readonly value?: string | undefined
  readonly inlineValue?: boolean | undefined
}

function checkOption({ name, rawName, value, inlineValue = false }: OptionToken, options: Options): void {
  const option = Object.hasOwn(options, name) ? options[name] : undefined
  if (option === undefined) throw new UsageError(`there is no option ${rawName}; ${optionAdvice(name, options)}`)
  if (option.type === 'boolean' && value !== undefined) throw new UsageError(`${rawName} takes no value`)
  if (option.type === 'boolean') return
  if (value === undefined) throw new UsageError(`${rawName} needs a value`)
  if (value.startsWith('-') && !inlineValue)
    throw new UsageError(`${rawName} needs a value; if ${value} is the value, write --${name}=${value}`)
}

function optionAdvice(name: string, options: Options): string {
  const names = Object.keys(options)
  const near = suggest(name, [...names, 'help', 'version'])
  if (near !== null) return `did you mean --${near}?`
  return names.length === 0 ? 'this command has no options' : `the options are --${names.join(', --')}`
}

function argumentAdvice(value: string, options: Options): string {
  const option = /^\d+$/.test(value) ? 'port' : 'config'
  if (!(option in options)) return ''
  return `; did you mean ${withNpm(`--${option} ${value}`)}?`
}

/** Returns the options as the user has to write them, with `npm run` if npm runs the program: npm keeps options to itself. */
export function withNpm(options: string): string {
  const script = process.env['npm_lifecycle_event']
  return script === undefined || script === 'npx' ? options : `npm run ${script} -- ${options}`
}

type Loaded = ReturnType<typeof loadConfig>

/** The keys for a configuration without them. They live as long as the process, so a reload changes no key. */
const fallbackKeys = { fallbackKey: randomBytes(32), fallbackAssertionKey: newAssertionKey() }

/**
 * Loads the configuration from `file`, from the file in `GATEHOUSE_CONFIG`, or from environment variables alone.
 * @throws {ConfigurationError}
 */
export function loadConfigFile(file: string | undefined, files?: Set<string>): Loaded {
  return loadConfig({ env: process.env, ...fallbackKeys, file, ...(files === undefined ? {} : { files }) })
}

/**
 * Loads the configuration for a command whose only option is `--config FILE`. Adds the paths of all files that are
 * read to `files`.
 * @throws {ConfigurationError}
 */
export function loadConfigOption(args: readonly string[], files?: Set<string>): Loaded {
  const { values } = readArguments({ args: [...args], options: { config: { type: 'string' } }, strict: true })
  return loadConfigFile(values.config, files)
}
