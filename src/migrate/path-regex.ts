/** A set of paths: the paths that `patterns` match, without the paths in `except`. */
export interface Paths {
  readonly patterns: readonly string[]
  readonly except: readonly string[]
}

const MAX_ALTERNATIVES = 32
const MAX_CHARACTERS = 500
const LITERAL = /^(?:[A-Za-z0-9_~:@!&',=-]|\\[.+\-_~])*$/

/**
 * Returns the paths that a regular expression matches, if route patterns can express exactly the same set; otherwise
 * `null`: for example without `^`, with a bare `.`, or if the last segment is open-ended (`^/api` also matches `/apix`).
 */
export function pathsOf(regex: string): Paths | null {
  const unescaped = regex.replaceAll('\\/', '/')
  if (!unescaped.startsWith('^/') || unescaped.length > MAX_CHARACTERS) return null
  const alternatives = expand(unescaped.slice(1))
  if (alternatives === null) return null
  const found = alternatives.map(pathsOfAlternative)
  const exact = found.filter((paths) => paths !== null)
  if (exact.length < found.length) return null
  const patterns = [...new Set(exact.flatMap((paths) => paths.patterns))]
  return {
    patterns,
    except: [...new Set(exact.flatMap((paths) => paths.except))].filter((path) => !patterns.includes(path)),
  }
}

const GROUP = /\((?:\?:)?((?:[^()\\|$]|\\.)+(?:\|(?:[^()\\|$]|\\.)+)+)\)(?![?*+{])/

/** Expands `/(a|b)/c` to `/a/c` and `/b/c`; only for groups of plain alternatives. */
function expand(regex: string): string[] | null {
  let alternatives = [regex]
  for (;;) {
    const group = GROUP.exec(alternatives[0] ?? '')
    if (group === null) return alternatives
    const choices = group[1]?.split('|') ?? []
    if (choices.length * alternatives.length > MAX_ALTERNATIVES) return null
    // All alternatives have the same first group: they differ only in the choices made before it.
    alternatives = alternatives.flatMap((one) => choices.map((choice) => one.replace(group[0], () => choice)))
  }
}

function pathsOfAlternative(regex: string): Paths | null {
  // The path and everything below it: `/x(/|$)`, `/x(/.*)?$`.
  const below =
    /^(.+?)\((?:\?:)?(?:\/\|\$|\$\|\/)\)(?:\.\*\$?)?$/.exec(regex)?.[1] ??
    /^(.+?)\((?:\?:)?\/\.\*\)\?\$$/.exec(regex)?.[1]
  if (below !== undefined) return patternsOf(below, (path) => ({ patterns: [`${path}/**`], except: [] }))
  // Everything below the path, but not the path itself: `/x/`, `/x/.*`.
  const under = /^(.*)\/(?:\.\*\$?)?$/.exec(regex)?.[1]
  if (under !== undefined) {
    if (under === '') return { patterns: ['/**'], except: [] }
    return patternsOf(under, (path) => ({ patterns: [`${path}/**`], except: [path] }))
  }
  const exact = /^(.+)\$$/.exec(regex)?.[1]
  return exact === undefined ? null : patternsOf(exact, (path) => ({ patterns: [path], except: [] }))
}

function patternsOf(regex: string, paths: (path: string) => Paths): Paths | null {
  // An optional slash: `/x/?`.
  const optional = /^(.+)\/\?$/.exec(regex)?.[1]
  if (optional !== undefined) {
    const both = [patternsOf(optional, paths), patternsOf(`${optional}/`, paths)]
    const exact = both.filter((one) => one !== null)
    return exact.length < 2
      ? null
      : { patterns: exact.flatMap((one) => one.patterns), except: exact.flatMap((one) => one.except) }
  }
  const segments = regex.split(/(?<!\[\^)\//).map((segment) => (segment === '[^/]+' ? '*' : literalSegment(segment)))
  return segments.includes(null) ? null : paths(segments.join('/'))
}

/** Returns the text that a segment without operators matches; `null` for other segments. */
function literalSegment(segment: string): string | null {
  if (!LITERAL.test(segment)) return null
  const text = segment.replace(/\\(.)/g, '$1')
  return text === '.' || text === '..' ? null : text
}
