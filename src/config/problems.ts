/** Where a value sits in the configuration: keys and list positions from the root. */
export type Path = readonly (string | number)[]

/** One mistake in the configuration: where it was written, what is wrong, and what to write instead. */
export interface Problem {
  /** The YAML file, the environment variable that holds the value, or `environment` for what is nowhere. */
  file: string
  /** Counted from 1; null where there is no file. */
  line: number | null
  column: number | null
  /** The key's path such as `routes[0].path`; empty for the whole. */
  path: string
  message: string
  instead: string | null
}

/** Thrown when a configuration cannot be used; carries every problem that was found, not only the first. */
export class ConfigurationError extends Error {
  override readonly name = 'ConfigurationError'
  readonly problems: Problem[]

  constructor(problems: Problem[]) {
    super(formatProblems(problems))
    this.problems = problems
  }
}

/** Spells a path the way operators write it: `routes[0].headers.set`. */
export function formatPath(path: Path): string {
  let text = ''
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`
    else text += text === '' ? step : `.${step}`
  }
  return text
}

/** One block a problem, `file:line:column: path: message`, with an indented line that says what to write instead. */
export function formatProblems(problems: readonly Problem[]): string {
  return problems
    .map(({ file, line, column, path, message, instead }) => {
      const place = [file, line, column].filter((part) => part !== null).join(':')
      const head = [place, path, message].filter((part) => part !== '').join(': ')
      return instead === null ? head : `${head}\n    ${instead}`
    })
    .join('\n')
}
