import { type Draft, remark, routed } from '../draft.ts'
import { duration, type Entry, flagOf, goDuration, listOf } from '../entry.ts'
import { type Paths, pathsOf } from '../path-regex.ts'
import { type Rule, to } from '../rule.ts'
import { giveVerdicts } from '../verdicts.ts'

/** Paths that need no session. */
export const openRoutes: Rule = to(
  'routes[].access: public',
  (entry, draft) => {
    for (const item of listOf(entry)) openOne(entry, item, draft)
    if (listOf(entry).length === 0) remark(draft, 'builtin', entry, 'it is empty, and opens nothing')
  },
  'only expressions that a route can say exactly, such as ^/x$, ^/x/ and ^/x(/|$); others are named and stay closed',
)

/** Paths where nobody is sent to the login. */
export const apiRoutes: Rule = to(
  'routes[].challenge: 401',
  (entry, draft) => {
    for (const item of listOf(entry)) {
      const paths = pathsOf(item)
      if (paths === null) {
        remark(
          draft,
          'gap',
          entry,
          `${quoted(item)} can't be said as a path here; scripts get a 401 anyway, so it may not be needed`,
        )
        continue
      }
      for (const path of paths.patterns)
        draft.exceptions.push({ path, methods: null, access: 'required', challenge: '401', from: entry })
      routed(draft, entry)
    }
  },
  'scripts get a 401 anyway; only expressions that a route can say exactly',
)

/** OPTIONS without a session. */
export const preflight: Rule = to(
  'routes[].methods: [OPTIONS]',
  (entry, draft) => {
    if (flagOf(entry) === false)
      return remark(draft, 'builtin', entry, 'it is off: OPTIONS needs a session like any other method')
    openPreflight(entry, draft)
  },
  'a public route for OPTIONS beside each route',
)

function openPreflight(entry: Entry, draft: Draft): void {
  draft.preflight = entry
  routed(draft, entry)
  remark(
    draft,
    'security',
    entry,
    'OPTIONS goes to the upstream without a session on every path, as before: take those routes out if no other ' +
      'site calls this application',
  )
}

const quoted = (text: string): string => JSON.stringify(text)

const EVERY_PATH = /^\^?(?:\\?\/)?(?:\.\*\$?)?$/

function openOne(entry: Entry, item: string, draft: Draft): void {
  const [, method = '', negated, regex = ''] = /^(?:([A-Za-z]*)(!?)=)?(.*)$/s.exec(item) ?? []
  if (/^options$/i.test(method) && negated === '' && EVERY_PATH.test(regex)) return openPreflight(entry, draft)
  const paths: Paths | null = negated === '!' ? null : pathsOf(regex)
  if (paths === null || paths.patterns.includes('/**')) {
    const why =
      negated === '!'
        ? 'opens all but some paths'
        : paths === null
          ? 'is no path that a route can say exactly'
          : 'opens everything'
    // Most who write a dot mean one.
    const meant = pathsOf(regex.replace(/(?<!\\)\.(?![*+?])/g, '\\.'))?.patterns.filter((path) => path !== '/**') ?? []
    const such = meant.length === 0 || negated === '!' ? ['/health', '/assets/**'] : meant
    return remark(
      draft,
      'security',
      entry,
      `${quoted(item)} ${why}, and stays closed: add routes such as ` +
        `${such.map((path) => `{ path: ${path}, access: public }`).join(' or ')} for what has to be open`,
    )
  }
  const methods = method === '' ? null : [method.toUpperCase()]
  if (methods?.some((name) => ['TRACE', 'TRACK', 'CONNECT'].includes(name)) === true) {
    return remark(draft, 'gap', entry, `${quoted(item)} names a method that is never served`)
  }
  for (const path of paths.patterns) draft.exceptions.push({ path, methods, access: 'public', from: entry })
  // `/x/**` is `/x` as well here; the expression did not open that one.
  for (const path of paths.but) draft.exceptions.push({ path, methods: null, access: 'required', from: entry })
  routed(draft, entry)
  remark(
    draft,
    'security',
    entry,
    `${quoted(item)} needs no session, as before: ${paths.patterns.join(', ')}` +
      (methods?.includes('GET') === true ? '; HEAD comes with GET' : ''),
  )
}

/** Reads the list of upstreams, each with the path in its URL. */
export function finishUpstreams(draft: Draft): void {
  const entry = draft.given.get('upstreams')
  const slow = draft.given.get('upstream_timeout')
  const insecure = draft.given.get('ssl_upstream_insecure_skip_verify')
  if (slow !== undefined) routed(draft, slow)
  if (entry === undefined) return
  routed(draft, entry)
  const ms = slow === undefined ? 30_000 : (goDuration(slow) ?? 30_000)
  for (const item of listOf(entry)) {
    const base = baseOf(item, entry, draft)
    if (base !== null) {
      draft.bases.push({
        ...base,
        timeout: duration(ms),
        insecure: insecure !== undefined && flagOf(insecure) !== false,
        from: [entry],
      })
    }
  }
}

interface Target {
  readonly path: string
  readonly upstream: string
}

function baseOf(item: string, entry: Entry, draft: Draft): Target | null {
  const socket = /^unix:(?:\/\/)?(\/.+)$/.exec(item)?.[1]
  if (socket !== undefined) return { path: '/**', upstream: `unix:${socket}` }
  if (item.startsWith('static:')) {
    giveVerdicts(draft, entry)
    remark(
      draft,
      'differs',
      entry,
      `${quoted(item)}: a proxy that only asks gets verdicts by the routes here, on forwardAuth.listen; what would be ` +
        'passed on goes nowhere (upstream.invalid)',
    )
    return { path: '/**', upstream: 'http://upstream.invalid' }
  }
  if (item.startsWith('file:')) {
    remark(
      draft,
      'gap',
      entry,
      `${quoted(item)}: files are not served here; let a web server serve them and name it as upstream`,
    )
    return null
  }
  return targetOf(item, entry, draft)
}

/** Where an http URL points, and which paths go there. */
export function targetOf(url: string, entry: Entry, draft: Draft): Target | null {
  if (!URL.canParse(url) || !/^(https?|h2c|wss?):\/\//.test(url)) {
    remark(draft, 'gap', entry, 'an upstream is an http or https origin, or unix:/path; this one is left out')
    return null
  }
  const { protocol, host, pathname, username, search } = new URL(url)
  if (username !== '')
    remark(
      draft,
      'differs',
      entry,
      'the credentials in the URL are left out: set them under headers.set as Authorization, from a variable',
    )
  if (search !== '') remark(draft, 'differs', entry, 'the query of the URL is left out')
  const path = pathname === '/' || pathname === '' ? '/**' : pathname.endsWith('/') ? `${pathname}**` : pathname
  return { path, upstream: `${/^(https|wss):/.test(protocol) ? 'https:' : 'http:'}//${host}` }
}
