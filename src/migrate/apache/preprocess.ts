import type { ReadFile } from '../migration.ts'
import { type Directive, readApache, wordsOf } from '../readers/apache.ts'
import type { Grade } from '../setting.ts'

interface Source {
  readonly name: string
  readonly text: string
}

/** What Apache knows at this place of its configuration. */
interface State {
  readonly variables: Map<string, string>
  readonly macros: Map<string, Directive>
  readonly used: Set<string>
  readonly unknown: Map<string, Directive>
  /** The files that an `Include` has read with its path, and those that are being read. */
  readonly included: Map<Source, string>
  readonly opened: readonly string[]
  readonly sources: readonly Source[]
  readonly readFile: ReadFile
}

export interface Preprocessed {
  readonly directives: readonly Directive[]
  /** The variables without a value, each with the first directive that names it. */
  readonly unknown: ReadonlyMap<string, Directive>
}

const VERSION = [2, 4, 66] as const

/** A directive that decides who gets in, or what the application trusts. */
const ABOUT_ACCESS =
  /^(OIDC|Auth|Require|RequestHeader|Allow|Deny|Order|Satisfy|Redirect|RewriteRule|SSLVerify|SSLRequire|Limit|ProxyPass|Sec[A-Z])/i

/**
 * Reads files as Apache does before any directive takes effect: included files, variables, macros and conditions.
 * `readFile` reads included files that are not among `sources`.
 */
export function preprocess(sources: readonly Source[], readFile: ReadFile): Preprocessed {
  const state: State = {
    variables: new Map(),
    macros: new Map(),
    used: new Set(),
    unknown: new Map(),
    included: new Map(),
    opened: [],
    sources,
    readFile,
  }
  const trees = sources.map((source) => ({ source, tree: readApache(source.text, source.name) }))
  const named = sources.filter(({ name }) =>
    trees.some(({ source, tree }) => source.name !== name && includes(tree, name)),
  )
  const directives = trees.flatMap(({ source, tree }) => (named.includes(source) ? [] : expand(tree, state)))
  // An include that is left out itself, in a condition that does not hold, does not hide a file that is given.
  const others = trees.flatMap(({ source, tree }) =>
    named.includes(source) && !state.included.has(source) ? expand(tree, state) : [],
  )
  return { directives: [...directives, ...others].map((one) => withMacroNote(one, state.used)), unknown: state.unknown }
}

/** Returns the names of the directives in a list and in their sections, with their lines. */
export function namesWithLines(directives: readonly Directive[]): string {
  return directives
    .flatMap(({ name, line, inner }) => [`${name} (${line})`, ...(inner === null ? [] : [namesWithLines(inner)])])
    .filter((text) => text !== '')
    .join(', ')
}

export function someAboutAccess(directives: readonly Directive[]): boolean {
  return directives.some(({ name, inner }) => ABOUT_ACCESS.test(name) || (inner !== null && someAboutAccess(inner)))
}

function includes(tree: readonly Directive[], file: string): boolean {
  return tree.some(
    ({ name, args, inner }) =>
      (/^Include(Optional)?$/i.test(name) && isNamed(file, args[0] ?? '')) || (inner !== null && includes(inner, file)),
  )
}

/** Returns whether the path or pattern of an `Include` names a file, by its last segment. */
function isNamed(file: string, pattern: string): boolean {
  const last = lastSegment(pattern)
  const parts = last.split('*').map((part) => part.replaceAll(/[.+^${}()|[\]\\]/g, '\\$&').replaceAll('?', '.'))
  return last !== '' && new RegExp(`^${parts.join('[^/]*')}$`).test(lastSegment(file))
}

function lastSegment(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Returns the files of this command that an `Include` names, preferably those in its folder. */
function givenFiles(include: Directive, path: string, { sources, included }: State): Source[] {
  const named = sources.filter(({ name }) => name !== include.file && isNamed(name, path))
  const folder = path.split('/').at(-2)
  const inFolder = named.filter(({ name }) => folder !== undefined && name.split('/').at(-2) === folder)
  if (inFolder.length > 0) return inFolder
  // The files may have been copied from their folder.
  return named.filter((source) => (included.get(source) ?? path) === path)
}

function expand(tree: readonly Directive[], state: State): Directive[] {
  return tree.flatMap((raw): Directive[] => {
    const name = raw.name.toLowerCase()
    if (name === 'macro') {
      state.macros.set((raw.args[0] ?? '').toLowerCase(), raw)
      return [raw]
    }
    const directive = withValues(raw, state)
    const [first = '', second] = directive.args
    switch (name) {
      case 'define':
        state.variables.set(first, second ?? '')
        return [noted(directive, 'builtin', 'the value is used wherever the variable occurs')]
      case 'undefine':
        state.variables.delete(first)
        return [noted(directive, 'builtin', 'the variable has no value after this line')]
      case 'use':
        return useMacro(directive, state)
      case 'include':
      case 'includeoptional':
        return includeFile(directive, first, state)
    }
    if (directive.inner === null) return [directive]
    const reason = reasonToSkip(directive, state)
    if (reason === null) return [{ ...directive, inner: expand(directive.inner, state) }]
    const grade = someAboutAccess(directive.inner) ? 'security' : 'builtin'
    const left = directive.inner.length === 0 ? '' : `: ${namesWithLines(directive.inner)}`
    return [{ ...noted(directive, grade, `${reason}, so its directives are left out${left}`), inner: [] }]
  })
}

function noted(directive: Directive, grade: Grade, text: string): Directive {
  return { ...directive, note: { grade, text } }
}

/** Replaces each definition of a macro by a note about the definition. */
function withMacroNote(directive: Directive, used: ReadonlySet<string>): Directive {
  const { name, args, inner } = directive
  if (inner === null) return directive
  if (name.toLowerCase() !== 'macro') return { ...directive, inner: inner.map((one) => withMacroNote(one, used)) }
  const isUsed = used.has((args[0] ?? '').toLowerCase())
  const text = isUsed
    ? 'its directives are read where Use names it'
    : `no Use in these files names it, so its directives are left out: ${namesWithLines(inner)}`
  return { ...noted(directive, isUsed ? 'builtin' : 'gap', text), inner: [] }
}

/** Replaces variables in the arguments of a directive; those without a value stay as they are. */
function withValues(directive: Directive, { variables, unknown }: State): Directive {
  return withText(directive, (text) =>
    text.replaceAll(/\$\{([^{}]+)\}/g, (whole: string, variable: string) => {
      const value = variables.get(variable)
      if (value === undefined && !unknown.has(variable)) unknown.set(variable, directive)
      return value ?? whole
    }),
  )
}

/** Changes the arguments of a directive before their words are read, as Apache does: a value may hold several words. */
function withText(directive: Directive, change: (text: string) => string): Directive {
  const text = change(directive.text)
  return text === directive.text ? directive : { ...directive, text, args: wordsOf(text) }
}

function useMacro(use: Directive, state: State): Directive[] {
  const [name = '', ...values] = use.args
  const macro = state.macros.get(name.toLowerCase())
  if (macro === undefined) {
    const text = `the macro ${name} is not in these files, so its directives were not read: pass the file with the macro to this command as well`
    return [noted(use, 'security', text)]
  }
  state.used.add(name.toLowerCase())
  const parameters = macro.args
    .slice(1)
    .map((parameter, index) => [parameter, values[index] ?? ''] as const)
    // Of two parameters that begin alike, Apache replaces the longer one first.
    .toSorted(([a], [b]) => b.length - a.length)
  const replaced = (text: string): string =>
    parameters.reduce((before, [parameter, value]) => before.replaceAll(parameter, () => value), text)
  const body = (list: readonly Directive[]): Directive[] =>
    list.map((one) => ({
      ...withText(one, replaced),
      name: replaced(one.name),
      inner: one.inner === null ? null : body(one.inner),
    }))
  return [
    noted(use, 'builtin', `the directives of the macro ${name} are read here`),
    ...(state.opened.length > MAX_DEPTH
      ? []
      : expand(body(macro.inner ?? []), { ...state, opened: [...state.opened, name] })),
  ]
}

const MAX_DEPTH = 32

function includeFile(include: Directive, path: string, state: State): Directive[] {
  const given = givenFiles(include, path, state)
  const text = given.length > 0 || /[*?[]|\/$/.test(path) ? null : state.readFile(path, include.file)
  const files = text === null ? given : [{ name: path, text }]
  const unread = files.filter(({ name }) => !state.opened.includes(name) && name !== include.file)
  if (unread.length === 0) {
    const isOptional = include.name.toLowerCase() === 'includeoptional'
    return [
      noted(
        include,
        'security',
        `${path} was not read${isOptional ? ', if it exists' : ''}: pass it to this command as another FILE`,
      ),
    ]
  }
  return [
    noted(include, 'builtin', `the directives of ${unread.map(({ name }) => name).join(', ')} are read here`),
    ...unread.flatMap((file) => {
      state.included.set(file, path)
      return expand(readApache(file.text, file.name), { ...state, opened: [...state.opened, file.name] })
    }),
  ]
}

/** Returns why Apache does not read the directives of a section; `null` if it may read them. */
function reasonToSkip({ name, args }: Directive, { variables }: State): string | null {
  const [condition = ''] = args
  const isNegated = condition.startsWith('!')
  const subject = isNegated ? condition.slice(1) : condition
  switch (name.toLowerCase()) {
    case 'ifmodule':
      return isNegated ? `the module ${subject} counts as loaded` : null
    case 'ifdefine':
      if (variables.has(subject)) return isNegated ? `${subject} is defined` : null
      return isNegated
        ? null
        : `${subject} is not defined in these files (add Define ${subject} if Apache runs with -D ${subject})`
    case 'ifversion':
      return isOfVersion(args) ? null : `Apache 2.4 does not meet ${args.join(' ')}`
  }
  return null
}

function isOfVersion(args: readonly string[]): boolean {
  const [operator, version] = args.length === 1 ? ['=', args[0] ?? ''] : [args[0] ?? '', args[1] ?? '']
  if (!/^\d+(\.\d+)*$/.test(version)) return true
  const [difference = 0] = version
    .split('.')
    .map((part, index) => (VERSION[index] ?? 0) - Number(part))
    .filter((part) => part !== 0)
  const plain = operator.replace(/^!/, '')
  const holds =
    plain === '<' ? difference < 0 : plain === '<=' ? difference <= 0
    : plain === '>' ? difference > 0 : plain === '>=' ? difference >= 0 : difference === 0 // prettier-ignore
  return operator.startsWith('!') ? !holds : holds
}
