/** Where `${…}` takes its values from. */
export interface Sources {
  env: Readonly<Record<string, string | undefined>>
  /** The text of a file, or the reason why it cannot be read. */
  readText: (path: string) => { text: string } | { reason: string }
}

/** Why a text cannot be filled in, and what to write instead. */
export interface Gap {
  message: string
  instead: string | null
}

/**
 * Fills in `${NAME}`, `${NAME:-default}` (unset or empty) and `${file:/path}` (without newlines at its end); `$${` is a
 * literal `${`. What is filled in is taken as it is, never looked at again.
 */
export function interpolate(text: string, sources: Sources): { text: string } | { gaps: Gap[] } {
  const gaps: Gap[] = []
  const missing = (message: string, instead: string | null): string => {
    gaps.push({ message, instead })
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
      return read.text.replace(/[\r\n]+$/, '')
    }
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(inside) ?? []
    if (name === undefined) {
      const instead = 'write ${NAME}, ${NAME:-default} or ${file:/path}; for a literal ${ write $${'
      return missing(`has ${JSON.stringify(found)}`, instead)
    }
    const value = Object.hasOwn(sources.env, name) ? sources.env[name] : undefined
    if (fallback !== undefined) return value === undefined || value === '' ? fallback : value
    const message = `needs the environment variable ${name}, which is not set`
    return value ?? missing(message, `set it, or write \${${name}:-default}`)
  })
  return gaps.length > 0 ? { gaps } : { text: filled }
}
