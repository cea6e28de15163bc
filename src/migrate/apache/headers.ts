import { isReservedHeader } from '../../config/checks/routes.ts'
import { type Draft, remark, routed, secret, setHeader } from '../draft.ts'
import { type Entry, literal, textOf } from '../entry.ts'
import type { Directive } from '../read-apache.ts'

/** A directive, and the section that it is in; `path` is `null` where it is for the whole site. */
interface HeaderDirective {
  readonly entry: Entry
  readonly directive: Directive
  readonly path: string | null
}

/** What one RequestHeader does: sets a template, or something that can't be said (`null`). */
interface Change {
  readonly entry: Entry
  readonly does: string
  readonly template: string | null
  readonly path: string | null
  readonly condition: string | null
}

// They say what the client can take, and who it is matters to none of them.
const ABOUT_CONTENT =
  /^(accept(-.*)?|user-agent|range|if-.*|content-.*|cache-control|pragma|expect|te|referer|origin|dnt|save-data|sec-.*)$/i

/** What adds to the client's own value. */
const KEEPS: ReadonlySet<string> = new Set(['append', 'merge', 'add', 'setifempty', 'edit', 'edit*'])

/**
 * Makes `headers.set` of what `RequestHeader` sets from claims, the user or fixed text, and `headers.remove` of
 * everything else that it does, on all routes: what was taken from clients before is taken from them after.
 */
export function readRequestHeaders(own: readonly HeaderDirective[], draft: Draft): void {
  const variables = variablesOf(own, draft)
  const byName = new Map<string, Change[]>()
  for (const { entry, directive, path } of own) {
    if (!/^RequestHeader$/i.test(directive.name)) continue
    const [does = '', name = '', value = ''] = directive.args
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      remark(draft, 'security', entry, 'the name of its header is not read: name it under headers.remove')
      continue
    }
    if (/^cookie$/i.test(name) && !/^unset$/i.test(does)) {
      remark(draft, 'gap', entry, 'the upstream gets the cookies that the client sends, without the gateway’s own')
      continue
    }
    if (isReservedHeader(name) && !/^cookie$/i.test(name)) {
      remark(draft, 'builtin', entry, `the gateway writes ${name} itself, or takes it from the connection`)
      continue
    }
    const [action, rest] = [does.toLowerCase(), directive.args.slice(conditionAt(does))]
    const change = {
      entry,
      does: action,
      template: ['unset', 'edit', 'edit*'].includes(action) ? null : templateOf(name, value, entry, variables, draft),
      path,
      condition: rest.find((one) => /^(env|expr)=/i.test(one)) ?? null,
    }
    const key = name.toLowerCase()
    byName.set(key, [...(byName.get(key) ?? []), change])
  }
  for (const changes of byName.values()) become(draft, changes, variables)
}

/** Where the condition of a RequestHeader may stand. */
function conditionAt(does: string): number {
  return /^unset$/i.test(does) ? 2 : /^edit/i.test(does) ? 4 : 3
}

function become(draft: Draft, changes: readonly Change[], variables: ReadonlyMap<string, string>): void {
  const [first] = changes
  const name = Array.isArray(first?.entry.value) ? String(first.entry.value[1]) : ''
  // Within one section the last one counts.
  const counting = changes.filter(
    (change, index) => !changes.slice(index + 1).some((later) => later.path === change.path),
  )
  const setting = counting.filter(({ does }) => does !== 'unset')
  const templates = new Set(setting.map(({ template }) => template))
  const [template = null] = templates
  for (const { entry } of changes) routed(draft, entry)
  const kept = setting.length > 0 && setting.every(({ does }) => KEEPS.has(does))
  if (kept && ABOUT_CONTENT.test(name)) {
    for (const { entry } of setting) remark(draft, 'gap', entry, `${name} goes to the upstream as the client sends it`)
    return
  }
  draft.shared.remove.push(name)
  if (setting.length > 0 && (templates.size > 1 || template === null)) {
    const why = templates.size > 1 ? 'it has several values, by section' : 'its value can’t be said here'
    for (const { entry } of setting) {
      remark(
        draft,
        'security',
        entry,
        `${why}: what clients send as ${name} is removed, and the application gets none (headers.remove) until you ` +
          'set it under headers.set',
      )
    }
    return
  }
  if (template === null) {
    for (const { entry } of counting)
      remark(
        draft,
        'security',
        entry,
        `what clients send as ${name} is removed on every route (headers.remove), as before`,
      )
    return
  }
  setHeader(draft, name, template)
  for (const { entry, does, path, condition } of setting) {
    const known = condition === null || (/^env=/i.test(condition) && variables.has(condition.slice('env='.length)))
    const differs = [
      ...(path === null ? [] : [`it was for ${path} alone, and is set on every route that has a session`]),
      ...(known ? [] : [`its condition ${JSON.stringify(condition)} is left out`]),
      ...(does === 'set' ? [] : ['what the client sends is not kept beside it']),
      ...(isUser(template) && !draft.given.has('OIDCRemoteUserClaim')
        ? ['the user was sub@issuer, and is sub alone']
        : []),
    ]
    if (differs.length > 0) remark(draft, known ? 'differs' : 'security', entry, `${name}: ${differs.join('; ')}`)
  }
}

const isUser = (template: string): boolean => template.includes('{claims.sub}')

/** The value of a header as a template of ours; `null` for what none can say. */
function templateOf(
  name: string,
  value: string,
  entry: Entry,
  variables: ReadonlyMap<string, string>,
  draft: Draft,
): string | null {
  const format = /^expr=/i.test(value) ? value.slice('expr='.length) : value
  if (format === '') return null
  if (!format.includes('%')) {
    if (/[{}]/.test(format) || value !== format) return null
    if (!/auth|secret|token|key|pass|cred|sign|cookie/i.test(name) && /^[\w.:/ -]{1,15}$/.test(format))
      return literal(format)
    // Fixed text that only the web server knows may be what the application trusts it by.
    const variable = `HEADER_${name}`.toUpperCase().replace(/[^A-Z]+/g, '_')
    return secret(draft, variable, `the value of RequestHeader ${name} (${entry.file}:${entry.line})`)
  }
  const parts = format.split(/(%\{[^{}]*\}[a-z]?|%%)/i)
  const texts = parts.map((part, index) => {
    if (index % 2 === 0) return /[%{}]/.test(part) ? null : literal(part)
    if (part === '%%') return '%'
    const [, kind = '', variable = ''] = /^%\{(?:(env|reqenv|osenv|http|req|la-u|la-f):)?([^{}]*)\}/i.exec(part) ?? []
    return kind.toLowerCase() === 'osenv' ? null : (variables.get(variable) ?? claimOf(variable, draft))
  })
  return texts.includes(null) ? null : texts.join('')
}

/** The claim that a variable of the module's stands for. */
function claimOf(variable: string, draft: Draft): string | null {
  const prefix = draft.given.get('OIDCClaimPrefix')
  const before = prefix === undefined ? 'OIDC_CLAIM_' : textOf(prefix)
  const claim = variable.startsWith(before) ? variable.slice(before.length) : ''
  return claim === '' || /[{}$]/.test(claim) ? null : `{claims.${claim}}`
}

/** The variables that hold the user, or a claim, under another name: REMOTE_USER, and what RewriteRule makes of those. */
function variablesOf(own: readonly HeaderDirective[], draft: Draft): ReadonlyMap<string, string> {
  const user = draft.given.get('OIDCRemoteUserClaim')
  const claim = user === undefined ? 'sub' : textOf(user).replace(/@$/, '')
  const variables = new Map([['REMOTE_USER', `{claims.${claim}}`]])
  const valueOf = (text: string): string | null => {
    const name = /^%\{(?:(?:ENV|HTTP|LA-U|LA-F):)?([A-Za-z0-9_-]+)\}$/i.exec(text)?.[1] ?? ''
    return variables.get(name) ?? claimOf(name, draft)
  }
  own.forEach(({ directive }, index) => {
    if (!/^RewriteRule$/i.test(directive.name)) return
    const flags = directive.args[2] ?? ''
    for (const [, name = '', value = ''] of flags.matchAll(/\bE(?:NV)?=(\w+):([^,\]]+)/gi)) {
      const before = own[index - 1]?.directive
      const [subject = '', pattern = ''] = before !== undefined && /^RewriteCond$/i.test(before.name) ? before.args : []
      // `%1` is what the whole of the condition's subject was.
      const whole = value === '%1' && /^\^?\(\.[+*]\)\$?$/.test(pattern) ? subject : value
      const template = valueOf(whole)
      if (template !== null) variables.set(name, template)
    }
  })
  return variables
}
