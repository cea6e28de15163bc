import { pathsOf } from '../path-regex.ts'
import type { Directive } from '../readers/apache.ts'
import type { Setting } from '../setting.ts'
import { isRequirement } from './require.ts'

/** The kinds of sections, in the order in which Apache merges them. */
const KINDS = ['site', 'proxy', 'directory', 'files', 'location', 'if', 'other'] as const

/** The whole site, or the part of it that a section such as `<Location>` applies to. */
export interface Section {
  readonly kind: (typeof KINDS)[number]
  readonly directive: Directive | null
  readonly setting: Setting | null
  /** The section around it; `null` for the files as a whole. */
  readonly parent: Section | null
  /** The number of the virtual host that contains the section; 0 outside of virtual hosts. */
  readonly host: number
  /** The patterns of the section's paths; `null` if route patterns cannot express the paths. */
  readonly patterns: readonly string[] | null
  /** Paths that the patterns match but the section does not. */
  readonly except: readonly string[]
}

/** The methods of `<Limit>`, or all methods except those of `<LimitExcept>`. */
export interface MethodLimit {
  readonly methods: readonly string[]
  readonly isExcept: boolean
}

export interface PlacedDirective {
  readonly setting: Setting
  readonly directive: Directive
  readonly within: Section
  readonly limit: MethodLimit | null
}

export interface Site {
  readonly sections: readonly Section[]
  readonly directives: readonly PlacedDirective[]
}

const TRANSPARENT = /^(IfModule|IfDefine|IfVersion|IfFile|IfDirective|IfSection|Macro)$/i
const LIMIT = /^Limit(Except)?$/i

/** Returns whether a section only makes its directives conditional, without limiting them to some paths. */
export function isTransparent(name: string): boolean {
  return TRANSPARENT.test(name)
}

export function isWholeSite({ patterns }: Section): boolean {
  return patterns?.includes('/**') === true
}

/** Assigns each directive to its section. `nameOf` returns the canonical name of a directive. */
export function sectionsOf(directives: readonly Directive[], nameOf: (name: string) => string): Site {
  const sections: Section[] = []
  const placed: PlacedDirective[] = []
  let hosts = 0
  const settingOf = (directive: Directive): Setting => ({
    key: nameOf(directive.name),
    written: directive.inner === null ? directive.name : `<${[directive.name, ...directive.args].join(' ')}>`,
    value: directive.args,
    file: directive.file,
    line: directive.line,
  })
  const walk = (list: readonly Directive[], within: Section, limit: MethodLimit | null): void => {
    for (const directive of list) {
      const setting = settingOf(directive)
      placed.push({ setting, directive, within, limit })
      if (directive.inner === null) continue
      if (LIMIT.test(directive.name)) walk(directive.inner, within, limitOf(directive))
      else if (isRequirement(directive) || isTransparent(directive.name)) walk(directive.inner, within, limit)
      else {
        if (/^VirtualHost$/i.test(directive.name)) hosts += 1
        const section = sectionOf(directive, setting, within, hosts)
        sections.push(section)
        walk(directive.inner, section, null)
      }
    }
  }
  const root: Section = {
    kind: 'site',
    directive: null,
    setting: null,
    parent: null,
    host: 0,
    patterns: ['/**'],
    except: [],
  }
  sections.push(root)
  walk(directives, root, null)
  return { sections, directives: placed }
}

/** Returns the part of a site that applies to a virtual host: what is in it, and what is outside of all hosts. */
export function siteOfHost({ sections, directives }: Site, host: number): Site {
  const applies = (section: Section): boolean => section.host === 0 || section.host === host
  const ofHost = sections
    .filter(applies)
    .toSorted((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.host - b.host)
  return { sections: ofHost, directives: directives.filter(({ within }) => applies(within)) }
}

function limitOf({ name, args }: Directive): MethodLimit {
  const methods = args.map((method) => method.toUpperCase())
  // Apache has one number for GET and HEAD.
  return { methods: methods.includes('GET') ? [...methods, 'HEAD'] : methods, isExcept: /Except$/i.test(name) }
}

function kindOf(name: string): Section['kind'] {
  if (/^VirtualHost$/i.test(name)) return 'site'
  if (/^Proxy(Match)?$/i.test(name)) return 'proxy'
  if (/^Directory(Match)?$/i.test(name)) return 'directory'
  if (/^Files(Match)?$/i.test(name)) return 'files'
  if (/^Location(Match)?$/i.test(name)) return 'location'
  return /^(If|ElseIf|Else)$/i.test(name) ? 'if' : 'other'
}

function sectionOf(directive: Directive, setting: Setting, parent: Section, host: number): Section {
  const { name, args } = directive
  const [first = '', second] = args
  const kind = kindOf(name)
  const section = (patterns: readonly string[] | null, except: readonly string[] = []): Section => ({
    kind,
    directive,
    setting,
    parent,
    host: kind === 'site' ? host : parent.host,
    patterns,
    except,
  })
  if (kind === 'site' || (kind === 'proxy' && first === '*')) return section(['/**'])
  if (kind !== 'location') return section(null)
  const regex = /^LocationMatch$/i.test(name) ? first : first === '~' ? (second ?? '') : null
  if (regex !== null) {
    const paths = pathsOf(regex)
    return section(paths?.patterns ?? null, paths?.except ?? [])
  }
  // With a wildcard, a section applies to the paths that match as a whole, and not to paths below them.
  if (/^(\/([A-Za-z0-9_~.-]+|\*))+$/.test(first) && first.includes('*')) return section([first])
  if (!/^\/[A-Za-z0-9_~./-]*$/.test(first)) return section(null)
  if (first === '/') return section(['/**'])
  return first.endsWith('/') ? section([`${first}**`], [first.slice(0, -1)]) : section([`${first}/**`])
}
