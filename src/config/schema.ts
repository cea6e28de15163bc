import type { Static } from 'typebox'
import { addressRange, listen, origin, upstream, type Upstream } from './value-types/address.ts'
import { duration, orOff, rate } from './value-types/amount.ts'
import { list, map, textual } from './value-types/collection.ts'
import { bearerSecret, headerName, hostName } from './value-types/http.ts'
import { basePath } from './value-types/path.ts'
import { choice, text, workers } from './value-types/scalar.ts'
import { file } from './value-types/secret.ts'
import { group, leaf, listOf, optional, optionalOrWord, switchable } from './schema-nodes.ts'
import { limits } from './sections/limits.ts'
import { provider } from './sections/provider.ts'
import { route } from './sections/route.ts'
import { session } from './sections/session.ts'

export type { Listen } from './value-types/address.ts'

const scriptHeader = group('A header that tells a script.', {
  name: leaf(headerName, { default: undefined, description: 'Its name.' }),
  value: leaf(textual(text()), { default: null, description: 'Its value; any when left out.' }),
})

const logo = text({
  name: 'URL',
  pattern: /^(\/(?!\/)|https?:\/\/|data:image\/)\S*$/,
  expected: 'a URL, a path or a data:image/ URL',
})

/** The schema of the configuration. Types, defaults, JSON Schema, documentation and masking are derived from it. */
export const schema = group('Configuration of Gatehouse.', {
  listen: leaf(listen, {
    default: '0.0.0.0:8080',
    description: 'Where the gateway listens: `host:port`, or `unix:/path`. A change needs a restart.',
  }),
  publicUrl: leaf(list(origin, { min: 1, single: true }), {
    default: undefined,
    description:
      'The origins that browsers see. The only ones that logins start from and return to. ' +
      'A request belongs to the one that its Host names, else to the first.',
  }),
  basePath: leaf(basePath, { default: '/oauth2', description: "Where the gateway's own endpoints are." }),
  trustedProxies: leaf(list(addressRange), {
    default: [],
    description: 'Addresses and CIDRs of the proxies in front, whose X-Forwarded-* headers are believed.',
  }),
  upstream: leaf(upstream, {
    default: null,
    defaultText: 'none; required unless every route has its own',
    description:
      'Where the requests of routes without an upstream of their own go: an http or https origin, ' +
      'or `unix:/path`.',
  }),
  tls: optional(
    group('TLS on the public listener. The files are picked up again when they change.', {
      certFile: leaf(file('certificate'), { default: undefined, description: 'The certificate and its chain in PEM.' }),
      keyFile: leaf(file('private key'), { default: undefined, description: 'Its private key in PEM.' }),
    }),
  ),
  admin: switchable(
    group(
      'Health and metrics, and session administration where it is asked for, on a listener of their own; `false` for none.',
      {
        listen: leaf(listen, {
          default: '127.0.0.1:9090',
          description: 'Where it listens. A change needs a restart.',
        }),
        hosts: leaf(list(hostName, { single: true }), {
          default: [],
          description:
            'Host names that it answers to, beside `localhost` and the address that a request came to; ' +
            'a request for another one gets 421.',
        }),
        sessions: optionalOrWord(
          'loopback',
          group(
            'Who may list and end sessions: clients with a token, or `loopback`, those on this machine. No client when left out.',
            {
              token: leaf(bearerSecret, {
                default: undefined,
                secret: 'whole',
                description:
                  'Clients that send this text in `Authorization: Bearer` may list and end sessions. With `loopback` in ' +
                  'place of this section (`GATEHOUSE_ADMIN_SESSIONS`), all clients on this machine may.',
              }),
            },
          ),
        ),
      },
    ),
  ),
  forwardAuth: optional(
    group(
      'Forward-auth (docs/forward-auth.md): verdicts for a proxy that carries the traffic itself, on a listener of ' +
        'its own, in plain HTTP; none unless this section or its variable is given. Only that proxy may reach it: its ' +
        'answers carry access tokens. A change needs a restart.',
      {
        listen: leaf(listen, { default: '127.0.0.1:8081', description: 'Where it listens.' }),
      },
    ),
  ),
  provider,
  session,
  scripts: group("What counts as a script's request, beside the rules that are built in.", {
    headers: listOf(scriptHeader, 'Headers of which one is enough.', []),
    message: leaf(text(), { default: null, description: 'The text of `detail` in the 401 that scripts get.' }),
  }),
  pages: group("The gateway's own pages.", {
    title: leaf(text(), { default: null, description: 'Their title.' }),
    logo: leaf(logo, { default: null, description: 'The picture on them: a URL, a path or a data:image/ URL.' }),
    texts: leaf(map(text(), text()), {
      default: {},
      description:
        'Texts that take the place of built-in ones, by the names in docs/browser.md: a code such as `forbidden`, ' +
        '`forbidden.title`, `button.sign_in`, `lang`.',
    }),
  }),
  log: group('The log, JSON lines on stdout.', {
    level: leaf(choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']), {
      default: 'info',
      description: 'The least severe lines that are written.',
    }),
  }),
  workers: leaf(workers, {
    default: 1,
    description:
      'How many processes serve, `auto`: one for each core. More than one needs Redis. A change needs a restart.',
  }),
  shutdown: group('What happens after SIGTERM.', {
    wait: leaf(duration({ min: 0, timer: true }), {
      default: '0s',
      description: 'How long it goes on serving as not ready before it stops listening.',
    }),
    drain: leaf(duration({ min: 0, timer: true }), {
      default: '30s',
      description: 'How long requests under way may then take.',
    }),
  }),
  limits,
  rateLimit: group('How many requests one client address may make; counted in Redis where sessions are.', {
    login: leaf(orOff(rate), { default: '300/1m', description: 'To the login endpoint.' }),
    callback: leaf(orOff(rate), { default: '300/1m', description: 'To the callback.' }),
    session: leaf(orOff(rate), { default: '600/1m', description: 'To the session endpoints.' }),
    requests: leaf(orOff(rate), { default: 'off', description: 'The requests to the application.' }),
  }),
  routes: listOf(route, 'Who gets where. The most specific path wins, whatever the order.', [{ path: '/**' }]),
})

/** The configuration as the schema resolves it, before the rules between keys are checked. */
export type ResolvedConfig = Static<typeof schema>

/** A route as the schema resolves it; its upstream is null when neither the route nor the configuration has one. */
export type ResolvedRoute = ResolvedConfig['routes'][number]

/** A route of a valid configuration: it always has an upstream. */
export type Route = Omit<ResolvedRoute, 'upstream'> & { upstream: Upstream }

/** A valid configuration with all keys: durations in ms, sizes in bytes, and null for values that are not given. */
export type Config = Omit<ResolvedConfig, 'routes'> & { routes: Route[] }
