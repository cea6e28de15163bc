/** A set of paths that our patterns name exactly; `but` are paths within that do not belong to it. */
export interface Paths {
  readonly patterns: readonly string[]
  readonly but: readonly string[]
}

const MAX_ALTERNATIVES = 32
const MAX_LENGTH = 500
const LITERAL = /^(?:[A-Za-z0-9_~:@!&',=-]|\\[.+\-_~])*$/

/**
 * The paths that a regular expression matches, where our patterns can say exactly the same; `null` for any other
 * expression. An expression without `^`, with a bare `.` or with a tail that is no whole segment is another.
 */
export function pathsOf(regex: string): Paths | null {
  const unescaped = regex.replaceAll('\\/', '/')
  if (!unescaped.startsWith('^/') || unescaped.length > MAX_LENGTH) return null
  const alternatives = expand(unescaped.slice(1))
  if (alternatives === null) return null
  const found = alternatives.map(pathsOfOne)
  const exact = found.filter((paths) => paths !== null)
  if (exact.length < found.length) return null
  const patterns = [...new Set(exact.flatMap((paths) => paths.patterns))]
  return { patterns, but: [...new Set(exact.flatMap((paths) => paths.but))].filter((path) => !patterns.includes(path)) }
}

const GROUP = /\((?:\?:)?((?:[^()\\/|$]|\\.)+(?:\|(?:[^()\\/|$]|\\.)+)+)\)(?![?*+{])/

/** `/(a|b)/c` as `/a/c` and `/b/c`; only groups of plain alternatives. */
function expand(regex: string): string[] | null {
  let alternatives = [regex]
  for (;;) {
    const group = GROUP.exec(alternatives[0] ?? '')
    if (group === null) return alternatives
    const choices = group[1]?.split('|') ?? []
    if (choices.length * alternatives.length > MAX_ALTERNATIVES) return null
    // All have the same group at their first place: they differ in what stood in others before it.
    alternatives = alternatives.flatMap((one) => choices.map((choice) => one.replace(group[0], () => choice)))
  }
}

function pathsOfOne(regex: string): Paths | null {
  // The path and all below it: `/x(/|$)`, `/x(/.*)?$`.
  const below =
    /^(.+?)\((?:\?:)?(?:\/\|\$|\$\|\/)\)(?:\.\*\$?)?$/.exec(regex)?.[1] ??
    /^(.+?)\((?:\?:)?\/\.\*\)\?\$$/.exec(regex)?.[1]
  if (below !== undefined) return patternsOf(below, (path) => ({ patterns: [`${path}/**`], but: [] }))
  // All below it, and not the path itself: `/x/`, `/x/.*`.
  const under = /^(.*)\/(?:\.\*\$?)?$/.exec(regex)?.[1]
  if (under !== undefined) {
    if (under === '') return { patterns: ['/**'], but: [] }
    return patternsOf(under, (path) => ({ patterns: [`${path}/**`], but: [path] }))
  }
  const exact = /^(.+)\$$/.exec(regex)?.[1]
  return exact === undefined ? null : patternsOf(exact, (path) => ({ patterns: [path], but: [] }))
}

function patternsOf(regex: string, paths: (path: string) => Paths): Paths | null {
  // A slash that may be missing: `/x/?`.
  const optional = /^(.+)\/\?$/.exec(regex)?.[1]
  if (optional !== undefined) {
    const both = [patternsOf(optional, paths), patternsOf(`${optional}/`, paths)]
    const exact = both.filter((one) => one !== null)
    return exact.length < 2
      ? null
      : { patterns: exact.flatMap((one) => one.patterns), but: exact.flatMap((one) => one.but) }
  }
  const segments = regex.split(/(?<!\[\^)\//).map((segment) => (segment === '[^/]+' ? '*' : plain(segment)))
  return segments.includes(null) ? null : paths(segments.join('/'))
}

/** The text that a regular expression without operators matches. */
function plain(segment: string): string | null {
  if (!LITERAL.test(segment)) return null
  const text = segment.replace(/\\(.)/g, '$1')
  return text === '.' || text === '..' ? null : text
}
