import { randomBytes } from 'node:crypto'
import { loadConfig } from '../config/load.ts'
import { readArguments } from './command.ts'

type Loaded = ReturnType<typeof loadConfig>

/** One for the life of the process: reading the configuration again must not end all sessions. */
const spareKey = randomBytes(32)

/**
 * Loads the configuration that `--config FILE`, `GATEHOUSE_CONFIG` or the environment alone names. Throws
 * `ConfigurationError`.
 */
export function configured(file: string | undefined, files?: Set<string>): Loaded {
  const named = file ?? process.env['GATEHOUSE_CONFIG']
  return loadConfig({
    env: process.env,
    spareKey,
    ...(named === undefined || named === '' ? {} : { file: named }),
    ...(files === undefined ? {} : { files }),
  })
}

/** For commands whose only option is `--config FILE`; `files` gets the paths of all that is read. */
export function configuredBy(args: readonly string[], files?: Set<string>): Loaded {
  const { values } = readArguments({ args: [...args], options: { config: { type: 'string' } }, strict: true })
  return configured(values.config, files)
}
