import { randomBytes } from 'node:crypto'
import { parseArgs, type ParseArgsConfig } from 'node:util'
import { loadConfig } from '../config/load.ts'
import { newAssertionKey } from '../config/private-key.ts'

export interface Command {
  readonly help: string
  /** Runs the command and resolves with the exit status. */
  run(args: readonly string[]): Promise<number>
}

export class UsageError extends Error {}

/**
 * Parses arguments.
 * @throws {UsageError}
 */
export function readArguments<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs<T>(config)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}

type Loaded = ReturnType<typeof loadConfig>

/** The keys for a configuration without them. They live as long as the process, so a reload changes no key. */
const fallbackKeys = { fallbackKey: randomBytes(32), fallbackAssertionKey: newAssertionKey() }

/**
 * Loads the configuration from `file`, from the file in `GATEHOUSE_CONFIG`, or from environment variables alone.
 * @throws {ConfigurationError}
 */
export function loadConfigFile(file: string | undefined, files?: Set<string>): Loaded {
  const named = file ?? process.env['GATEHOUSE_CONFIG']
  return loadConfig({
    env: process.env,
    ...fallbackKeys,
    ...(named === undefined || named === '' ? {} : { file: named }),
    ...(files === undefined ? {} : { files }),
  })
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
