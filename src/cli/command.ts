import { parseArgs, type ParseArgsConfig } from 'node:util'

/** A command of the command line. */
export interface Command {
  readonly help: string
  /** Runs the command and resolves with the exit status. */
  run(args: readonly string[]): Promise<number>
}

/** Thrown for a command line that can't be understood. */
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
