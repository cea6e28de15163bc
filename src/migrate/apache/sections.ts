import { pathsOf } from '../path-regex.ts'
import type { Directive } from '../readers/apache.ts'
import type { Setting } from '../setting.ts'
import { isRequirement } from './require.ts'

/** The whole site, or the part of it that a section such as `<Location>` applies to. */
export interface Section {
  readonly directive: Directive | null
  readonly setting: Setting | null
  /** The number of the virtual host that contains the section; 0 outside of virtual hosts. */
  readonly host: number
  /** The patterns of the section's paths; `null` if route patterns cannot express the paths. */
  readonly patterns: readonly string[] | null
  /** Paths that the patterns match but the section does not. */
  readonly except: readonly string[]
}

export interface PlacedDirective {
  readonly setting: Setting
  readonly directive: Directive
  readonly within: Section
}

export interface Site {
  readonly settings: readonly Setting[]
  /** The settings that apply to all paths of the virtual host that uses the module. */
  readonly siteSettings: readonly Setting[]
  readonly sections: readonly Section[]
  readonly directives: readonly PlacedDirective[]
}

const TRANSPARENT = /^(IfModule|IfDefine|IfVersion|IfFile|IfDirective|IfSection|Macro)$/i

/** Returns whether a section only makes its directives conditional, without limiting them to some paths. */
export function isTransparent(name: string): boolean {
  return TRANSPARENT.test(name)
}

export function isWholeSite({ patterns }: Section): boolean {
  return patterns?.includes('/**') === true
}

/** Assigns each directive to its section. `nameOf` returns the canonical name of a directive. */
export function sectionsOf(directives: readonly Directive[], file: string, nameOf: (name: string) => string): Site {
  const sections: Section[] = []
  const placed: PlacedDirective[] = []
  let hosts = 0
  const settingOf = (directive: Directive): Setting => ({
    key: nameOf(directive.name),
    written: directive.inner === null ? directive.name : `<${directive.name} ${directive.args.join(' ')}>`,
    value: directive.args,
    file,
    line: directive.line,
  })
  const walk = (list: readonly Directive[], within: Section): void => {
    for (const directive of list) {
      const setting = settingOf(directive)
      placed.push({ setting, directive, within })
      if (directive.inner === null) continue
      if (isRequirement(directive) || isTransparent(directive.name)) walk(directive.inner, within)
      else {
        if (/^VirtualHost$/i.test(directive.name)) hosts += 1
        const section = sectionOf(directive, setting, hosts)
        sections.push(section)
        walk(directive.inner, section)
      }
    }
  }
  const root: Section = { directive: null, setting: null, host: 0, patterns: ['/**'], except: [] }
  sections.push(root)
  walk(directives, root)
  const host = hostOf(placed)
  const siteWide = placed.filter(({ within }) => [0, host].includes(within.host) && isWholeSite(within))
  return {
    settings: placed.map(({ setting }) => setting),
    siteSettings: siteWide.map(({ setting }) => setting),
    sections,
    directives: placed,
  }
}

/** Returns the number of the virtual host that uses the module; if there are several, the first one. */
export function hostOf(directives: readonly PlacedDirective[]): number {
  return (
    directives.find(
      ({ setting, within, directive }) =>
        within.host > 0 &&
        (setting.key.startsWith('OIDC') ||
          (setting.key === 'AuthType' && /openid|oauth20/i.test(directive.args[0] ?? ''))),
    )?.within.host ?? 1
  )
}

function sectionOf(directive: Directive, setting: Setting, host: number): Section {
  const { name, args } = directive
  const [first = '', second] = args
  const section = (patterns: readonly string[] | null, except: readonly string[] = []): Section => ({
    directive,
    setting,
    host,
    patterns,
    except,
  })
  if (/^(VirtualHost|Proxy)$/i.test(name)) return section(/^Proxy$/i.test(name) && first !== '*' ? null : ['/**'])
  const isLocation = /^Location$/i.test(name)
  const regex = /^LocationMatch$/i.test(name) ? first : isLocation && first === '~' ? (second ?? '') : null
  if (regex !== null) {
    const paths = pathsOf(regex)
    return section(paths?.patterns ?? null, paths?.except ?? [])
  }
  if (!isLocation || !/^\/[A-Za-z0-9_~./-]*$/.test(first)) return section(null)
  if (first === '/') return section(['/**'])
  return first.endsWith('/') ? section([`${first}**`], [first.slice(0, -1)]) : section([`${first}/**`])
}
