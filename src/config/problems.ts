import type { KeyPath } from './key-path.ts'

/** A problem with a key or its value whose line in the file is not known yet. */
export interface Finding {
  readonly path: KeyPath
  /** The part that is wrong: the key, or by default its value. */
  readonly part?: 'key' | 'value'
  readonly message: string
  readonly instead?: string | null
  /** A warning does not keep the gateway from starting. */
  readonly warning?: true
}

export interface Problem {
  /** The YAML file, the environment variable that holds the value, or `environment` for a value given in neither. */
  readonly file: string
  /** The line, counted from 1; null if the problem has no position in the file. */
  readonly line: number | null
  readonly column: number | null
  /** The key's path such as `routes[0].path`; empty for the whole configuration. */
  readonly path: string
  readonly message: string
  readonly instead: string | null
}

export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
  readonly problems: Problem[]

  constructor(problems: Problem[]) {
    super(formatProblems(problems))
    this.problems = problems
  }
}

/**
 * Formats each problem as `file:line:column: path: message`, followed by an indented line with what to write instead.
 */
export function formatProblems(problems: readonly Problem[]): string {
  return problems
    .map(({ file, line, column, path, message, instead }) => {
      const location = [file, line, column].filter((part) => part !== null).join(':')
      const head = [location, path, message].filter((part) => part !== '').join(': ')
      return instead === null ? head : `${head}\n    ${instead}`
    })
    .join('\n')
}
