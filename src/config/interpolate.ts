export interface Sources {
  readonly env: Readonly<Record<string, string | undefined>>
  readText(path: string): { text: string } | { reason: string }
}

export interface InterpolationProblem {
  readonly message: string
  readonly instead: string | null
}

/** Removes newlines at the end, which files and Kubernetes Secrets often have. */
export function withoutFinalNewlines(text: string): string {
  return text.replace(/[\r\n]+$/, '')
}

/**
 * Replaces `${NAME}`, `${NAME:-default}` (for unset or empty variables) and `${file:/path}` with their values, without
 * newlines at the end; `$${` becomes a literal `${`. Values are inserted as they are and never interpolated again.
 */
export function interpolate(text: string, sources: Sources): { text: string } | { problems: InterpolationProblem[] } {
  const problems: InterpolationProblem[] = []
  const missing = (message: string, instead: string | null): string => {
    problems.push({ message, instead })
    return ''
  }
  const filled = text.replace(/\$\$\{|\$\{([^}]*)(\}?)/g, (found: string, inside: string | undefined, end: string) => {
    if (inside === undefined) return '${'
    if (end === '') return missing('has a ${ without its }', 'for a literal ${ write $${')
    if (inside.includes('${')) return missing('has a ${…} within another', 'give the inner value a variable of its own')
    const path = /^file:(.+)$/s.exec(inside)?.[1]
    if (path !== undefined) {
      const read = sources.readText(path)
      if ('reason' in read) return missing(`names the file ${path}: ${read.reason}`, null)
      return withoutFinalNewlines(read.text)
    }
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? []
    if (name === undefined) {
      const instead = 'write ${NAME}, ${NAME:-default} or ${file:/path}; for a literal ${ write $${'
      return missing(`has ${JSON.stringify(found)}`, instead)
    }
    const variable = Object.hasOwn(sources.env, name) ? sources.env[name] : undefined
    const value = variable === undefined ? undefined : withoutFinalNewlines(variable)
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    const message = `needs the environment variable ${name}, which is not set`
    return value ?? missing(message, `set it, or write \${${name}:-default}`)
  })
  return problems.length > 0 ? { problems } : { text: filled }
}
