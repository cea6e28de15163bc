import { parseArgs, type ParseArgsConfig } from 'node:util'

/** One word on the command line. */
export interface Command {
  readonly help: string
  /** Resolves with the exit status. */
  readonly run: (args: readonly string[]) => Promise<number>
}

/** The command line can't be understood. */
export class UsageError extends Error {}

/** Parses arguments strictly; throws `UsageError`. */
export function readArguments<T extends ParseArgsConfig>(config: T): ReturnType<typeof parseArgs<T>> {
  try {
    return parseArgs<T>(config)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
}
