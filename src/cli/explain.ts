import { METHODS, type IncomingHttpHeaders } from 'node:http'
import type { Config } from '../config/schema.ts'
import { challenge } from '../gate/challenge.ts'
import { classify } from '../gate/classify.ts'
import { compileHeaders } from '../gate/headers.ts'
import { compileRoutes } from '../gate/match.ts'
import { buildGate, hostOf } from '../gate/pipeline.ts'
import type { Denial, Facts, Verdict } from '../gate/verdict.ts'
import { readTarget } from '../http/target.ts'
import { upstreamPath } from '../http/proxy/upstream-path.ts'
import type { Claims } from '../oidc/token-set.ts'
import type { Session } from '../session/session.ts'
import { UsageError, readArguments, type Command } from './command.ts'
import { configured } from './configured.ts'

/** `gatehouse explain`. */
export const explain: Command = {
  help: `gatehouse explain [--config FILE] METHOD URL [-H 'Name: value']... [--claims JSON]

Says what such a request would get, and why: which route it takes, what kind of request it is, what goes upstream. The URL
is taken as written, nothing is normalized. Without --claims the request is anonymous; with them it has a session of a
user with those claims (acr and auth_time are claims, too). Nobody is asked: provider, store and upstream need not run.
`,
  async run(args) {
    const { values, positionals } = readArguments({
      args: [...args], allowPositionals: true, strict: true,
      options: { config: { type: 'string' }, header: { type: 'string', short: 'H', multiple: true }, claims: { type: 'string' } },
    })
    const [method, url, ...others] = positionals
    if (method === undefined || url === undefined || others.length > 0) throw new UsageError('explain wants METHOD and URL; see gatehouse explain --help')
    const { config } = configured(values.config)
    const claims = values.claims === undefined ? null : readClaims(values.claims)
    const lines = await explainRequest(config, { method, url, headers: (values.header ?? []).map(readHeader), claims, now: Date.now() })
    process.stdout.write(`${lines.map(([name, text]) => `${name.padEnd(10)} ${text}`).join('\n')}\n`)
    return 0
  },
}

interface Asked {
  readonly method: string
  readonly url: string
  readonly headers: readonly (readonly [string, string])[]
  readonly claims: Claims | null
  readonly now: number
}

type Line = readonly [name: string, text: string]

/** The explanation, line by line. */
async function explainRequest(config: Config, { method, url, headers, claims, now }: Asked): Promise<Line[]> {
  const { origin, raw } = splitUrl(url, config.publicUrl)
  const lines: Line[] = [['request', `${method} ${raw} at ${origin}`]]
  if (['TRACE', 'TRACK', 'CONNECT'].includes(method)) return [...lines, ['answer', '405 method_not_allowed: this method never passes']]
  if (!METHODS.includes(method)) return [...lines, ['answer', `400 bad_request: no HTTP method is called ${method}; they are written in capitals`]]
  const target = readTarget(raw, config.publicUrl)
  if (!target.ok) return [...lines, ['answer', `400 bad_request: ${target.problem}`]]

  const routes = compileRoutes(config.routes, config.basePath)
  const session = claims === null ? null : sessionOf(claims, origin, now)
  const facts: Facts = {
    method, path: target.path, query: target.query, origin, headers: toHeaders(headers), rawHeaders: headers.flat(),
    client: { address: '127.0.0.1', peer: '127.0.0.1', trusted: false, scheme: origin.startsWith('https:') ? 'https' : 'http' },
    ticket: session?.ticket ?? null,
  }
  lines.push(['kind', classify(method, facts.headers, config.scripts)], ['session', claims === null ? 'none' : `a user with ${JSON.stringify(claims)}`])
  const found = routes.match(hostOf(origin), method, target.path)
  const path = target.path
  if (found === 'endpoint' && routes.otherReading(hostOf(origin), method, path, found) === null) {
    return [...lines, ['answer', `the gateway itself answers what is under ${config.basePath}`]]
  }
  const gate = buildGate({
    config, routes,
    sessions: { load: () => session, wasFollowed: () => false },
    bearers: { verify: async () => claims },
    tokens: { acquire: (current, route) => ({ ok: true, session: current, accessToken: route.grant === 'none' ? null : 'ACCESS-TOKEN' }) },
  })
  const verdict = await gate(facts, now)
  lines.push(['route', verdict.route === null ? 'none' : `${verdict.route.label} (routes[${verdict.route.index}], ${verdict.route.access})`])
  return [...lines, ...(verdict.type === 'forward' ? passes(verdict, facts, routes.routes, session) : denied(verdict, facts, config))]
}

function passes(
  verdict: Extract<Verdict, { type: 'forward' }>, facts: Facts, routes: Parameters<typeof compileHeaders>[0], session: Session | null,
): Line[] {
  const { route, accessToken } = verdict
  const headers = compileHeaders(routes, () => false).build(facts, route, verdict.who, accessToken)
  const pairs = headers.flatMap((name, i) => (i % 2 === 0 ? [`${name}: ${headers[i + 1] ?? ''}`] : []))
  const where = route.upstream === null ? '' : route.upstream.socketPath === null ? route.upstream.origin : `unix:${route.upstream.socketPath}:`
  const reason = route.access === 'public' ? 'the route is public: no session is looked at'
    : session === null ? 'the route’s session is optional, and there is none' : 'the session may use this route'
  return [
    ['answer', `passes: ${reason}`],
    ['upstream', `${facts.method} ${where}${upstreamPath(route, facts.path)}${facts.query}`],
    ...pairs.map((pair): Line => ['header', pair]),
  ]
}

function denied(verdict: Extract<Verdict, { type: 'deny' }>, facts: Facts, config: Config): Line[] {
  const { denial, kind, route } = verdict
  const answer = challenge(denial, kind, facts, route, { basePath: config.basePath, message: config.scripts.message })
  const where: Line[] = answer.location !== undefined ? [['location', answer.location]] : answer.loginUrl !== undefined ? [['login_url', answer.loginUrl]] : []
  return [['answer', `${answer.status} ${answer.code}`], ['because', reasonOf(denial)], ...where]
}

function reasonOf(denial: Denial): string {
  switch (denial.reason) {
    case 'no-route': return 'no route matches host, method and path'
    case 'ambiguous-path': return `some server reads this path as ${denial.reading}, which is another route’s`
    case 'login-required': return 'the route requires a session, and there is none'
    case 'session-expired': return 'the session has ended'
    case 'step-up': return [
      denial.stepUp.acrValues === null ? '' : `acr must be one of ${denial.stepUp.acrValues.join(', ')}`,
      denial.stepUp.maxAge === null ? '' : `the login must not be older than ${denial.stepUp.maxAge} s`,
    ].filter((text) => text !== '').join('; ')
    case 'forbidden': return denial.why
    case 'cross-origin': return 'an unsafe method with a session, sent by another origin'
    case 'token-refused': return 'the provider gives no token for this route'
    case 'invalid-token': return 'the client’s own token would have to be verified: give its claims with --claims'
    case 'token-unavailable': return 'the access token has expired and can’t be renewed now'
  }
}

/** The part before the path names the public URL; the rest is taken byte for byte. */
function splitUrl(url: string, publicUrls: readonly string[]): { origin: string, raw: string } {
  const [first = ''] = publicUrls
  const [, authority = '', rest = ''] = /^(https?:\/\/[^/?#\\]*)(.*)$/is.exec(url) ?? []
  if (authority === '') return { origin: first, raw: url }
  const origin = URL.canParse(authority) ? publicUrls.find((known) => new URL(known).host === new URL(authority).host) : undefined
  return { origin: origin ?? first, raw: rest.startsWith('/') ? rest : `/${rest}` }
}

function readHeader(text: string): readonly [string, string] {
  const colon = text.indexOf(':')
  if (colon < 1) throw new UsageError(`-H wants 'Name: value', not "${text}"`)
  return [text.slice(0, colon).trim(), text.slice(colon + 1).trim()]
}

function readClaims(text: string): Claims {
  let claims: unknown
  try {
    claims = JSON.parse(text)
  } catch {
    throw new UsageError('--claims wants a JSON object, e.g. \'{"sub":"alice","groups":["staff"]}\'')
  }
  if (typeof claims !== 'object' || claims === null || Array.isArray(claims)) throw new UsageError('--claims wants a JSON object')
  return { ...claims }
}

function toHeaders(pairs: readonly (readonly [string, string])[]): IncomingHttpHeaders {
  return Object.fromEntries(pairs.map(([name, value]) => [name.toLowerCase(), value]))
}

function sessionOf(claims: Claims, origin: string, now: number): Session {
  const ticket = { id: 'explained', key: '' }
  return {
    id: ticket.id, ticket, version: 1, issuer: '', subject: typeof claims['sub'] === 'string' ? claims['sub'] : '', sid: null, origin, claims, asked: null, idToken: '',
    tokens: { accessToken: '', expiresAt: null, issuedAt: now, refreshToken: null, scope: null },
    createdAt: now, endsAt: Number.POSITIVE_INFINITY, refreshedAt: now, lastSeenAt: now,
  }
}
