import { readRequestHeaders } from './headers.ts'
import { isRequirement, policyOf, type Policy } from './require.ts'
import { type Base, type Draft, NOBODY, put, remark, routed } from '../draft.ts'
import { type Entry, flagOf, literal, textOf } from '../entry.ts'
import { targetOf } from '../oauth2-proxy/routes.ts'
import { pathsOf } from '../path-regex.ts'
import type { Directive } from '../read-apache.ts'

/** A directive with the section that it stands in. */
interface Placed {
  readonly entry: Entry
  readonly directive: Directive
  readonly within: Section
}

/** A part of the site: the whole, or what a section is for. */
interface Section {
  readonly directive: Directive | null
  readonly entry: Entry | null
  readonly host: number
  /** The patterns of its paths; `null` where a route can't say them. */
  readonly patterns: readonly string[] | null
  /** Paths within the patterns that do not belong to it. */
  readonly but: readonly string[]
  readonly inner: readonly Directive[]
}

/** The directives of Apache's configuration as keys, and the sections that they stand in. */
export interface Sites {
  readonly entries: readonly Entry[]
  /** Those that are for the whole of the site that the module is used in. */
  readonly general: readonly Entry[]
  readonly sections: readonly Section[]
  readonly placed: readonly Placed[]
}

const transparent = /^(IfModule|IfDefine|IfVersion|IfFile|IfDirective|IfSection|Macro)$/i
const perRoute = new Set(['OIDCUnAuthAction', 'AuthType', 'Require', 'AuthName', 'ProxyPass', 'ProxyPassReverse'])

/** Reads which section each directive stands in. */
export function sitesOf(directives: readonly Directive[], file: string, nameOf: (name: string) => string): Sites {
  const sections: Section[] = []
  const placed: Placed[] = []
  let hosts = 0
  const entryOf = (directive: Directive): Entry => ({
    key: nameOf(directive.name),
    written: directive.inner === null ? directive.name : `<${directive.name} ${directive.args.join(' ')}>`,
    value: directive.args,
    file,
    line: directive.line,
  })
  const walk = (list: readonly Directive[], within: Section): void => {
    for (const directive of list) {
      const entry = entryOf(directive)
      placed.push({ entry, directive, within })
      if (directive.inner === null) continue
      if (isRequirement(directive) || transparent.test(directive.name)) walk(directive.inner, within)
      else {
        if (/^VirtualHost$/i.test(directive.name)) hosts += 1
        const section = sectionOf(directive, entry, hosts)
        sections.push(section)
        walk(directive.inner, section)
      }
    }
  }
  const whole: Section = { directive: null, entry: null, host: 0, patterns: ['/**'], but: [], inner: directives }
  sections.push(whole)
  walk(directives, whole)
  const host = hostOf(placed)
  const general = placed.filter(
    ({ within }) => [0, host].includes(within.host) && within.patterns?.includes('/**') === true,
  )
  return { entries: placed.map(({ entry }) => entry), general: general.map(({ entry }) => entry), sections, placed }
}

function sectionOf(directive: Directive, entry: Entry, host: number): Section {
  const [first = '', second] = directive.args
  const make = (patterns: readonly string[] | null, but: readonly string[] = []): Section => ({
    directive,
    entry,
    host,
    patterns,
    but,
    inner: directive.inner ?? [],
  })
  if (/^(VirtualHost|Proxy)$/i.test(directive.name))
    return make(/^Proxy$/i.test(directive.name) && first !== '*' ? null : ['/**'])
  const regex = /^LocationMatch$/i.test(directive.name)
    ? first
    : /^Location$/i.test(directive.name) && first === '~'
      ? (second ?? '')
      : null
  if (regex !== null) {
    const paths = pathsOf(regex)
    return make(paths?.patterns ?? null, paths?.but ?? [])
  }
  if (!/^Location$/i.test(directive.name) || !/^\/[A-Za-z0-9_~./-]*$/.test(first)) return make(null)
  if (first === '/') return make(['/**'])
  return first.endsWith('/') ? make([`${first}**`], [first.slice(0, -1)]) : make([`${first}/**`])
}

interface Area {
  readonly section: Section
  readonly policy: Policy
  readonly access: Base['access']
  readonly challenge?: string
  readonly denialForMissingToken: boolean
  readonly from: Entry[]
}

/** Makes routes of the sections and of what they pass on, and names what can't become one. */
export function readSites({ sections, placed }: Sites, draft: Draft): void {
  const host = hostOf(placed)
  for (const { entry, within } of placed) {
    if (/^VirtualHost$/i.test(entry.key)) draft.done.add(entry)
    else if (transparent.test(entry.key))
      remark(draft, 'builtin', entry, 'what is within is read as if the condition held')
    else if (within.host !== 0 && within.host !== host) {
      remark(
        draft,
        /^(OIDC|Auth|Require|RequestHeader|Allow|Deny|Satisfy|Redirect|RewriteRule)/i.test(entry.key)
          ? 'security'
          : 'gap',
        entry,
        'another VirtualHost: give it a file of its own, and a gateway',
      )
    }
  }
  const mine = sections.filter((section) => section.host === 0 || section.host === host)
  const own = placed.filter(({ within }) => mine.includes(within))
  onlyThere(own, draft)
  readRequestHeaders(
    own.map(({ entry, directive, within }) => ({
      entry,
      directive,
      path: within.patterns?.includes('/**') === true ? null : (within.entry?.written ?? null),
    })),
    draft,
  )
  keptAway(own, draft)
  const userClaim = remoteUser(draft)
  const areas = mine.flatMap((section) => areaOf(section, own, userClaim, draft) ?? [])
  const targets = targetsOf(own, draft)
  const whole = areas.findLast(({ section }) => section.patterns?.includes('/**') === true)
  const kept = areas.filter(
    (area) => area.section.patterns !== null && area !== whole && !isOverridden(area, areas, draft),
  )
  for (const area of areas) if (area.section.patterns === null) closeFor(area, draft)
  if (whole === undefined) {
    remark(
      draft,
      'security',
      null,
      'paths outside of the sections that ask for a login needed none; here every path needs a session: add ' +
        'routes with access: ' +
        'public for those that have to be open',
    )
  }
  pushBases(draft, whole, kept, targets)
  finishPublicUrl(own, draft)
}

/** The number of the virtual host that the module is used in; the first one counts. */
function hostOf(placed: readonly Placed[]): number {
  return (
    placed.find(
      ({ entry, within, directive }) =>
        within.host > 0 &&
        (entry.key.startsWith('OIDC') || (entry.key === 'AuthType' && /openid|oauth20/i.test(directive.args[0] ?? ''))),
    )?.within.host ?? 1
  )
}

/** What stands in a section for some paths is for those paths only, and a route has no such key. */
function onlyThere(own: readonly Placed[], draft: Draft): void {
  for (const { entry, within } of own) {
    const whole = within.patterns?.includes('/**') === true
    if (!whole && entry.key === 'OIDCPassAccessToken' && flagOf(entry) === false) routed(draft, entry)
    else if (!whole && entry.key.startsWith('OIDC') && !perRoute.has(entry.key)) {
      remark(
        draft,
        entry.key.startsWith('OIDCPass') ? 'security' : 'gap',
        entry,
        `it is for ${within.entry?.written ?? 'some paths'} alone: look whether one of the keys of that route says it`,
      )
    }
  }
}

const keepsAway =
  /^(Allow|Deny|Order|Satisfy|AllowMethods|SSLVerifyClient|SSLRequire|SSLRequireSSL|LimitRequestBody|Sec[A-Z]\w*|Limit|LimitExcept|Files|FilesMatch)$/i

/** Names what may have kept requests away from the application by other means than a login. */
function keptAway(own: readonly Placed[], draft: Draft): void {
  for (const { entry, directive } of own) {
    const { name, args } = directive
    const refuses =
      (/^Redirect(Match)?$/i.test(name) && /^(4\d\d|gone)$/i.test(args[0] ?? '')) ||
      (/^RewriteRule$/i.test(name) && /[[,](F|forbidden|G|gone|R=4\d\d|redirect=4\d\d)[\],]/i.test(args[2] ?? ''))
    if (refuses || keepsAway.test(name))
      remark(
        draft,
        'security',
        entry,
        'it kept requests away from the application, and nothing does here: leave it with a web server in between, ' +
          'or say it by require, methods or maxBody on routes',
      )
  }
}

function remoteUser(draft: Draft): string | null {
  const entry = draft.given.get('OIDCRemoteUserClaim')
  if (entry === undefined || textOf(entry).endsWith('@') || (Array.isArray(entry.value) && entry.value.length > 1))
    return null
  return textOf(entry)
}

function areaOf(section: Section, own: readonly Placed[], userClaim: string | null, draft: Draft): Area | null {
  const here = own.filter(({ within }) => within === section)
  const requirements = here.filter(({ directive }) => isRequirement(directive)).map(({ directive }) => directive)
  // Those within <RequireAll> and its like belong to it.
  const nested = new Set(requirements.flatMap((directive) => directive.inner ?? []))
  const policy = policyOf(
    requirements.filter((directive) => !nested.has(directive)),
    userClaim,
  )
  const about = here
    .filter(
      ({ entry }) =>
        isRequirement({ name: entry.key, args: [], line: 0, inner: null }) ||
        ['AuthType', 'OIDCUnAuthAction', 'AuthName'].includes(entry.key),
    )
    .map(({ entry }) => entry)
  routed(draft, ...about)
  const type = here.find(({ entry }) => entry.key === 'AuthType')?.directive.args[0]?.toLowerCase()
  const action = here.find(({ entry }) => entry.key === 'OIDCUnAuthAction')
  if (policy === null) {
    if (action !== undefined && section.patterns?.includes('/**') === true)
      draft.shared.challenge = challengeOf(action.entry, draft)
    else if (action !== undefined)
      remark(draft, 'gap', action.entry, 'there is no Require beside it: set challenge on the route')
    return null
  }
  if (section.entry !== null) routed(draft, section.entry)
  if (policy.kind === 'everybody' && section.patterns !== null) {
    const entry = here.find(({ directive }) => isRequirement(directive))?.entry ?? section.entry
    remark(draft, 'security', entry, `needs no session, as before: ${section.patterns.join(', ')} (access: public)`)
  }
  if (type !== undefined && !['openid-connect', 'oauth20', 'auth-openidc', 'none'].includes(type)) {
    const why = `AuthType ${type} is another way to log in`
    return { section, policy: { kind: 'unsaid', why }, access: 'required', denialForMissingToken: true, from: about }
  }
  const challenge = action === undefined ? undefined : challengeOf(action.entry, draft)
  const pass =
    action !== undefined &&
    action.directive.args[0]?.toLowerCase() === 'pass' &&
    policy.kind === 'users' &&
    Object.keys(policy.claims).length === 0
  if (pass)
    remark(
      draft,
      'security',
      action.entry,
      `needs no session, as before: ${section.patterns?.join(', ') ?? 'its paths'} (access: optional)`,
    )
  if (type === 'oauth20' || type === 'auth-openidc') bearerFor(draft, about)
  return {
    section,
    policy,
    access: policy.kind === 'everybody' ? 'public' : pass ? 'optional' : 'required',
    ...(challenge === undefined || pass ? {} : { challenge }),
    from: about,
    denialForMissingToken: here.some(({ entry }) => entry.key === 'OIDCPassAccessToken' && flagOf(entry) === false),
  }
}

function challengeOf(entry: Entry, draft: Draft): string {
  const [action = 'auth', expression] = Array.isArray(entry.value) ? entry.value.map(String) : []
  if (expression !== undefined)
    remark(
      draft,
      'differs',
      entry,
      'the expression is left out: whether a request is a navigation or a script decides, see docs/requests.md',
    )
  if (['407', '410'].includes(action))
    remark(draft, 'differs', entry, `the answer without a session is 401, not ${action}`)
  routed(draft, entry)
  return ['401', '407', '410'].includes(action) && expression === undefined ? '401' : 'auto'
}

function bearerFor(draft: Draft, about: readonly Entry[]): void {
  const audience = draft.given.get('OIDCOAuthVerifyAudience')
  const type = about.find(({ key }) => key === 'AuthType')
  if (audience === undefined) {
    if (type !== undefined)
      remark(
        draft,
        'security',
        type,
        "clients' own tokens need an audience: give the routes bearer: { audience: … }; nobody gets in with a " +
          'token until then',
      )
    return
  }
  draft.shared.bearer = Array.isArray(audience.value)
    ? audience.value.map((item) => literal(String(item)))
    : [literal(textOf(audience))]
  routed(draft, audience)
}

/** Apache reads its sections in their order, so that a later one that covers an earlier one is the last word. */
function isOverridden(area: Area, areas: readonly Area[], draft: Draft): boolean {
  const later = areas
    .slice(areas.indexOf(area) + 1)
    .find(
      ({ section }) =>
        area.section.patterns?.every((pattern) =>
          section.patterns?.some((outer) => outer === pattern || isWithin(pattern, outer)),
        ) === true,
    )
  if (later === undefined) return false
  if (area.section.entry !== null) {
    remark(
      draft,
      'security',
      area.section.entry,
      `the section in line ${later.section.entry?.line ?? 0} comes later and covers it, so that it has no ` +
        'effect in Apache; it is left out',
    )
  }
  return true
}

function isWithin(inner: string, outer: string): boolean {
  return outer.endsWith('/**') && (inner === outer.slice(0, -3) || inner.startsWith(outer.slice(0, -2)))
}

/** A section that no route can be made for: what it opens stays closed, and what it closes closes everything. */
function closeFor({ section, policy }: Area, draft: Draft): void {
  const entry = section.entry
  if (entry === null) return
  if (policy.kind === 'everybody') {
    return remark(
      draft,
      'security',
      entry,
      "its paths can't be said by a route exactly, and stay closed: add routes with access: public for what has " +
        'to be open',
    )
  }
  if (policy.kind === 'users' && Object.keys(policy.claims).length === 0) {
    return remark(
      draft,
      'differs',
      entry,
      "its paths can't be said by a route exactly; they need a session like all others",
    )
  }
  draft.shared.claims[NOBODY] = ['section']
  remark(
    draft,
    'security',
    entry,
    `it asks for more than a login on paths that a route can't say exactly: nobody gets in until you add a ` +
      `route for them; then take ${NOBODY} out`,
  )
}

interface Target {
  readonly path: string
  readonly upstream: string
  readonly rewritePrefix?: { from: string; to: string }
  readonly from: Entry
}

function targetsOf(own: readonly Placed[], draft: Draft): Target[] {
  return own.flatMap(({ entry, directive, within }) => {
    if (entry.key !== 'ProxyPass') return []
    const inside = within.directive !== null && /^Location$/i.test(within.directive.name)
    const [path = '/', url = ''] = inside ? [within.directive?.args[0], directive.args[0]] : directive.args
    if (url === '!') return keptBack(path, entry, draft)
    if (/^(balancer|unix|fcgi|ajp|uwsgi|scgi):/.test(url)) {
      remark(
        draft,
        'gap',
        entry,
        'an upstream is an http or https origin, or unix:/path: put a balancer there, or a server that speaks HTTP',
      )
      return []
    }
    const target = targetOf(url, entry, draft)
    if (target === null) return []
    routed(draft, entry, ...(inside && within.entry !== null ? [within.entry] : []))
    const from = path.replace(/\/$/, '')
    const to = new URL(url).pathname.replace(/\/$/, '')
    const pattern = from === '' ? '/**' : `${from}/**`
    if (from === to) return [{ path: pattern, upstream: target.upstream, from: entry }]
    if (from === '') {
      remark(
        draft,
        'gap',
        entry,
        "a path put before every request's has no equal: let the application serve it at the root, or use a " +
          'path of its own outside',
      )
      return [{ path: pattern, upstream: 'http://upstream.change-me.invalid', from: entry }]
    }
    return [
      { path: pattern, upstream: target.upstream, rewritePrefix: { from, to: to === '' ? '/' : to }, from: entry },
    ]
  })
}

/** A path that is not passed on: nobody gets to it, as its requests would go to the application now. */
function keptBack(path: string, entry: Entry, draft: Draft): [] {
  const from = path.replace(/\/$/, '')
  if (/^(\/[A-Za-z0-9_.~-]+)+$/.test(from)) {
    draft.exceptions.push({ path: `${from}/**`, methods: null, access: 'required', closed: true, from: entry })
    routed(draft, entry)
  }
  remark(
    draft,
    'security',
    entry,
    'the path was not passed on, and the gateway has no files of its own: ' +
      (draft.done.has(entry)
        ? `nobody gets in there until you give the route another upstream, or take it out`
        : 'add a route for it'),
  )
  return []
}

function pushBases(draft: Draft, whole: Area | undefined, kept: readonly Area[], targets: readonly Target[]): void {
  const closed: string[] = []
  const areaFor = (path: string): Area | undefined =>
    kept
      .filter(
        ({ section }) => section.patterns?.some((pattern) => pattern === path || isWithin(path, pattern)) === true,
      )
      .toSorted((a, b) => longest(b) - longest(a))[0] ?? whole
  const add = (path: string, area: Area | undefined): void => {
    if (draft.bases.some((base) => base.path === path)) return
    const target = targets.find((one) => one.path === path || isWithin(path, one.path))
    draft.bases.push({
      path,
      access: area?.access ?? 'required',
      ...claimsOf(area, draft),
      upstream: target?.upstream ?? null,
      ...(target?.rewritePrefix === undefined ? {} : { rewritePrefix: target.rewritePrefix }),
      ...(area?.challenge === undefined ? {} : { challenge: area.challenge }),
      denialForMissingToken: area?.denialForMissingToken === true,
      from: target === undefined ? [] : [target.from],
    })
  }
  add('/**', whole)
  for (const { path } of targets) add(path, areaFor(path))
  for (const area of kept) {
    for (const pattern of area.section.patterns ?? []) add(pattern, area)
    if (area.access !== 'required') closed.push(...area.section.but)
  }
  // `/x/` as a section is not `/x`, which our `/x/**` is as well.
  for (const path of closed) add(path, whole)
  const nowhere = draft.bases.filter(({ upstream }) => upstream === null)
  if (nowhere.length === 0) return
  const known = draft.bases.find(({ path, upstream }) => path === '/**' && upstream !== null)
  if (known === undefined)
    remark(
      draft,
      'todo',
      null,
      'no ProxyPass says where the requests of some routes go: let the web server listen elsewhere, and set ' +
        'upstream to it',
    )
  draft.bases.splice(
    0,
    draft.bases.length,
    ...draft.bases.map((base) => ({ ...base, upstream: base.upstream ?? 'http://upstream.change-me.invalid' })),
  )
}

function longest({ section }: Area): number {
  return Math.max(...(section.patterns ?? ['']).map((pattern) => pattern.length))
}

function claimsOf(area: Area | undefined, draft: Draft): Pick<Base, 'claims'> {
  if (area === undefined || area.policy.kind === 'everybody') return {}
  if (area.policy.kind === 'users')
    return Object.keys(area.policy.claims).length === 0 ? {} : { claims: area.policy.claims }
  const entry = area.from.find(({ key }) => key === 'Require') ?? area.section.entry ?? area.from[0] ?? null
  remark(
    draft,
    'security',
    entry,
    `${area.policy.why}; nobody gets in on that route until you decide: then take ${NOBODY} out`,
  )
  return { claims: { [NOBODY]: ['Require'] } }
}

function finishPublicUrl(own: readonly Placed[], draft: Draft): void {
  const uri = draft.given.get('OIDCRedirectURI')
  const name = own.find(({ entry }) => entry.key === 'ServerName')?.entry
  const aliases = own.filter(({ entry }) => entry.key === 'ServerAlias').map(({ entry }) => entry)
  const redirect = uri === undefined ? '' : textOf(uri)
  const absolute = URL.canParse(redirect) ? new URL(redirect) : null
  const server = name === undefined ? null : textOf(name)
  const origin =
    absolute?.origin ??
    (server === null
      ? null
      : new URL(/^https?:\/\//.test(server) ? server : `https://${server.replace(/:443$/, '')}`).origin)
  const more =
    absolute === null
      ? aliases
          .flatMap(({ value }) => (Array.isArray(value) ? value.map(String) : []))
          .filter((alias) => /^[A-Za-z0-9.-]+$/.test(alias))
      : []
  const from = [uri, name, ...aliases].filter((entry) => entry !== undefined)
  if (origin === null) {
    put(draft, 'publicUrl', 'https://change-me.invalid', ...from)
    remark(
      draft,
      'todo',
      uri ?? null,
      'neither OIDCRedirectURI nor ServerName names a host: set publicUrl to the origin that browsers see',
    )
  } else {
    const all = [...new Set([origin, ...more.map((alias) => `https://${alias}`)])]
    put(draft, 'publicUrl', all.length === 1 ? all[0] : all, ...from)
    remark(
      draft,
      'todo',
      uri ?? null,
      `register ${origin}/oauth2/callback at the provider: that is the redirect URI here`,
    )
  }
}
