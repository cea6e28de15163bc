import { isReservedHeader } from '../../config/checks/routes.ts'
import { TOKEN_ALONE } from '../../config/value-types/http.ts'
import { type Migration, remark, markRouteSource, secretVariable, setHeader } from '../migration.ts'
import { literal, positionOf, type Setting, textOf } from '../setting.ts'
import { isWholeSite, type PlacedDirective, type Section } from './sections.ts'

/** What the section of some paths says about a header whose value is the same for all users. */
export interface PathHeader {
  readonly section: Section
  readonly name: string
  /** `null` if the section removes the header. */
  readonly template: string | null
}

/** The effect of one RequestHeader; `template` is `null` if a template cannot express the value. */
interface Change {
  readonly setting: Setting
  readonly action: string
  readonly template: string | null
  readonly section: Section
  readonly condition: string | null
}

interface Context {
  readonly migration: Migration
  /** The templates of variables. */
  readonly variables: ReadonlyMap<string, string>
  /** The variables for fixed texts that may be secrets, by header and text. */
  readonly texts: Map<string, { readonly variable: string; readonly how: string }>
}

// Headers about content, which do not identify the user.
const ABOUT_CONTENT =
  /^(accept(-.*)?|user-agent|range|if-.*|content-.*|cache-control|pragma|expect|te|referer|origin|dnt|save-data|sec-.*)$/i

/** Actions that keep the value that the client sent. */
const KEEPING_ACTIONS: ReadonlySet<string> = new Set(['append', 'merge', 'add', 'setifempty', 'edit', 'edit*'])

/**
 * Migrates `RequestHeader` directives: to `headers.set` if they set claims, the user or fixed text, otherwise to
 * `headers.remove`. The gateway then removes the client's own value, even where Apache kept it (`append`,
 * `setifempty`). Headers that do not identify the user, such as `Accept` and `User-Agent`, are left alone. Returns the
 * headers whose fixed values only some paths have: an application may grant rights because of such a header.
 */
export function readRequestHeaders(directives: readonly PlacedDirective[], migration: Migration): PathHeader[] {
  const context: Context = { migration, variables: variablesOf(directives, migration), texts: new Map() }
  const byName = new Map<string, Change[]>()
  for (const { setting, directive, within } of directives) {
    if (!/^RequestHeader$/i.test(directive.name)) continue
    const [actionWord = '', written = '', value = ''] = directive.args
    // Apache takes the name up to a colon.
    const [name = ''] = written.split(':')
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name)) {
      remark(migration, 'security', setting, 'its header name is not understood: add the header to headers.remove')
      continue
    }
    if (/^cookie$/i.test(name) && !/^unset$/i.test(actionWord)) {
      remark(
        migration,
        'gap',
        setting,
        'the upstream gets the cookies that the client sends, without the gateway’s own',
      )
      continue
    }
    if (isReservedHeader(name) && !/^cookie$/i.test(name)) {
      remark(migration, 'builtin', setting, `the gateway writes ${name} itself, or takes it from the connection`)
      continue
    }
    const action = actionWord.toLowerCase()
    const change = {
      setting,
      action,
      template: ['unset', 'edit', 'edit*'].includes(action) ? null : templateOf(name, value, setting, context),
      section: within,
      condition: directive.args.slice(conditionAt(actionWord)).find((one) => /^(env|expr)=/i.test(one)) ?? null,
    }
    const key = name.toLowerCase()
    byName.set(key, [...(byName.get(key) ?? []), change])
  }
  return [...byName.values()].flatMap((changes) => applyChanges(changes, context))
}

function conditionAt(actionWord: string): number {
  return /^unset$/i.test(actionWord) ? 2 : /^edit/i.test(actionWord) ? 4 : 3
}

function applyChanges(changes: readonly Change[], context: Context): PathHeader[] {
  const { migration, texts } = context
  const [first] = changes
  const [name = ''] = Array.isArray(first?.setting.value) ? String(first.setting.value[1]).split(':') : []
  const { routeDefaults } = migration
  // The last directive in a section overrides the others.
  const effective = changes.filter(
    (change, index) => !changes.slice(index + 1).some((later) => pathOf(later) === pathOf(change)),
  )
  const setters = effective.filter(({ action }) => action !== 'unset')
  for (const { setting } of changes) markRouteSource(migration, setting)
  const keepsClientValue = setters.length > 0 && setters.every(({ action }) => KEEPING_ACTIONS.has(action))
  if (keepsClientValue && ABOUT_CONTENT.test(name)) {
    for (const { setting } of setters)
      remark(migration, 'gap', setting, `${name} goes to the upstream as the client sends it`)
    return []
  }
  routeDefaults.remove.push(name)
  if (setters.length === 0) {
    for (const { setting } of effective)
      remark(
        migration,
        'security',
        setting,
        `what clients send as ${name} is removed on every route (headers.remove), as before`,
      )
    return []
  }
  const templates = new Set(setters.map(({ template }) => template))
  const [template = null] = templates
  const isOnPaths = isSameForAll(template) && setters.every((one) => pathOf(one) !== null)
  const onPaths = effective.filter((one) => pathOf(one) !== null)
  const why =
    templates.size > 1
      ? 'its value depends on the section'
      : template === null
        ? 'a template can’t express its value'
        : isSameForAll(template) && !setters.every((one) => holdsForAll(one, context))
          ? 'a route can’t express its condition'
          : isOnPaths && onPaths.some(({ section }) => section.patterns === null)
            ? 'a route can’t express the paths of its section'
            : null
  if (template === null || why !== null) {
    for (const { setting } of setters) {
      remark(
        migration,
        'security',
        setting,
        `${why ?? ''}: what clients send as ${name} is removed (headers.remove), and the application gets no such header ` +
          'until you set it under headers.set',
      )
    }
    return []
  }
  for (const { variable, how } of texts.values())
    if (templates.has(`\${${variable}}`)) secretVariable(migration, variable, how)
  for (const { setting, action } of isOnPaths ? setters : [])
    if (action !== 'set') remark(migration, 'differs', setting, `${name}: ${NOT_KEPT}`)
  if (isOnPaths) return onPaths.map(({ section, template: value }) => ({ section, name, template: value }))
  setHeader(migration, name, template)
  for (const setter of setters) {
    const { setting, action, condition } = setter
    const path = pathOf(setter)
    const isKnown = holdsForAll(setter, context)
    const differs = [
      ...(path === null ? [] : [`it applied to ${path} only, and is now set on every route that has a session`]),
      ...(isKnown ? [] : [`its condition ${JSON.stringify(condition)} is dropped`]),
      ...(action === 'set' ? [] : [NOT_KEPT]),
      ...(template.includes('{claims.sub}') && !migration.effective.has('OIDCRemoteUserClaim')
        ? ['the user was sub@issuer, and is now sub']
        : []),
    ]
    if (differs.length > 0)
      remark(migration, isKnown ? 'differs' : 'security', setting, `${name}: ${differs.join('; ')}`)
  }
  return []
}

const NOT_KEPT = 'the value that the client sends is not kept'

/** Returns the section of a change as it is written; `null` if the section is the whole site. */
function pathOf({ section }: Change): string | null {
  return isWholeSite(section) ? null : (section.setting?.written ?? null)
}

/** Returns whether a template has the same value for all users. */
function isSameForAll(template: string | null): boolean {
  return template !== null && !template.replace(/\$\$?\{\w*\}?/g, '').includes('{')
}

/** Returns whether a header is sent to every user who has the claim in its value. */
function holdsForAll({ condition, template }: Change, { migration, variables }: Context): boolean {
  if (condition === null) return true
  const variable = /^env=/i.test(condition) ? condition.slice('env='.length) : ''
  const value = variables.get(variable) ?? claimOf(variable, migration)
  return value !== null && (template?.includes(value) === true || value === variables.get('REMOTE_USER'))
}

/** Returns the value of a header as a template; `null` if a template cannot express it. */
function templateOf(name: string, value: string, setting: Setting, context: Context): string | null {
  const { migration, variables } = context
  const format = /^expr=/i.test(value) ? value.slice('expr='.length) : value
  if (format === '') return null
  if (!format.includes('%')) {
    if (/[{}]/.test(format) || value !== format) return null
    if (!/auth|secret|token|key|pass|cred|sign|cookie/i.test(name) && /^[\w.:/ -]{1,15}$/.test(format))
      return literal(format)
    // The application may authenticate the web server by a fixed text, so the text is treated as a secret.
    const base = `HEADER_${name}`.toUpperCase().replace(/[^A-Z]+/g, '_')
    const id = `${name.toLowerCase()} ${format}`
    const isTaken = (one: string): boolean => [...context.texts.values()].some(({ variable }) => variable === one)
    let variable = base
    for (let n = 2; isTaken(variable); n += 1) variable = `${base}_${n}`
    const text = context.texts.get(id) ?? {
      variable,
      how: `the value of RequestHeader ${name} (${positionOf(setting)})`,
    }
    context.texts.set(id, text)
    return `\${${text.variable}}`
  }
  const parts = format.split(/(%\{[^{}]*\}[a-z]?|%%)/i)
  const texts = parts.map((part, index) => {
    if (index % 2 === 0) return /[%{}]/.test(part) ? null : literal(part)
    if (part === '%%') return '%'
    const [, kind = '', variable = ''] = /^%\{(?:(env|reqenv|osenv|http|req|la-u|la-f):)?([^{}]*)\}/i.exec(part) ?? []
    return kind.toLowerCase() === 'osenv' ? null : (variables.get(variable) ?? claimOf(variable, migration))
  })
  const template = texts.includes(null) ? null : texts.join('')
  const hasToken = template !== null && /\{(?:accessToken|idToken)\}/.test(template)
  return hasToken && !TOKEN_ALONE.test(template) ? null : template
}

/** Returns the template for a variable of the module; `null` for other variables. */
function claimOf(variable: string, migration: Migration): string | null {
  const prefix = migration.effective.get('OIDCClaimPrefix')
  const before = prefix === undefined ? 'OIDC_CLAIM_' : textOf(prefix)
  const claim = variable.startsWith(before) ? variable.slice(before.length) : ''
  return claim === '' || /[{}$]/.test(claim) ? null : `{claims.${claim}}`
}

/**
 * Returns templates for the variables that hold the id of the request (UNIQUE_ID), the user (REMOTE_USER), a claim or a
 * token, and for those that RewriteRule sets.
 */
function variablesOf(directives: readonly PlacedDirective[], migration: Migration): ReadonlyMap<string, string> {
  const user = migration.effective.get('OIDCRemoteUserClaim')
  const claim = user === undefined ? 'sub' : textOf(user).replace(/@$/, '')
  const variables = new Map([
    ['REMOTE_USER', `{claims.${claim}}`],
    ['OIDC_access_token', '{accessToken}'],
    ['OIDC_id_token', '{idToken}'],
    ['UNIQUE_ID', '{request.id}'],
  ])
  const valueOf = (text: string): string | null => {
    const name = /^%\{(?:(?:ENV|HTTP|LA-U|LA-F):)?([A-Za-z0-9_-]+)\}$/i.exec(text)?.[1] ?? ''
    return variables.get(name) ?? claimOf(name, migration)
  }
  directives.forEach(({ directive }, index) => {
    if (!/^RewriteRule$/i.test(directive.name)) return
    const flags = directive.args[2] ?? ''
    for (const [, name = '', value = ''] of flags.matchAll(/\bE(?:NV)?=(\w+):([^,\]]+)/gi)) {
      const before = directives[index - 1]?.directive
      const [subject = '', pattern = ''] = before !== undefined && /^RewriteCond$/i.test(before.name) ? before.args : []
      // `%1` is the first group of the condition; with this pattern, the whole subject.
      const text = value === '%1' && /^\^?\(\.[+*]\)\$?$/.test(pattern) ? subject : value
      const template = valueOf(text)
      if (template !== null) variables.set(name, template)
    }
  })
  return variables
}
