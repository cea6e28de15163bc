import type { Static } from 'typebox'
import {
  addressRange,
  listen,
  origin,
  publicOrigin,
  socketMode,
  upstream,
  type Upstream,
} from './value-types/address.ts'
import { duration, orOff, rate } from './value-types/amount.ts'
import { list, map, textual } from './value-types/collection.ts'
import { bearerSecret, headerName, hostName } from './value-types/http.ts'
import { basePath, pathPattern } from './value-types/path.ts'
import { ciphers } from './value-types/ciphers.ts'
import { accentColor } from './value-types/color.ts'
import { favicon, languageTag, styleFile } from './value-types/page.ts'
import { choice, flag, text, workers } from './value-types/scalar.ts'
import { assertionKeys } from './value-types/secret.ts'
import { group, leaf, listOf, optional, optionalOrWord, switchable } from './schema-nodes.ts'
import { keyPair } from './sections/key-pair.ts'
import { limits } from './sections/limits.ts'
import { provider, providers } from './sections/provider.ts'
import { route } from './sections/route.ts'
import { session } from './sections/session.ts'

export type { Listen } from './value-types/address.ts'

const scriptHeader = group("A header that marks a request as a script's.", {
  name: leaf(headerName, { default: undefined, description: 'The name of the header.' }),
  value: leaf(textual(text()), {
    default: null,
    description: 'The value of the header. Without it, any value counts.',
  }),
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
    description:
      'The address that the gateway listens on: `host:port` or `unix:/path`. Changing it requires a restart.',
  }),
  listenMode: leaf(socketMode, {
    default: null,
    defaultText: '0777 without the bits of the umask',
    description:
      'The permissions of the Unix socket in `listen`, in octal digits such as `"0660"`. A process needs write ' +
      'permission to connect. The sockets of `admin` and `forwardAuth` follow the umask. Changing it requires a ' +
      'restart.',
  }),
  listenH2c: leaf(flag, {
    default: false,
    description:
      'Also accepts HTTP/2 without TLS, from clients that begin a connection with it (prior knowledge). With `tls`, HTTP/2 needs no ' +
      'setting: clients negotiate it. Changing it requires a restart.',
  }),
  publicUrl: leaf(list(publicOrigin, { min: 1, single: true }), {
    default: undefined,
    description:
      'The origins at which browsers reach the application. Logins start from and return to these origins ' +
      'only. For each request, the gateway uses the origin that the `Host` header names, or the first ' +
      'origin if none matches. With `loginHost`, the first label may be `*`, which stands for exactly one ' +
      'label, as in `https://*.example.com`.',
  }),
  loginHost: leaf(origin, {
    default: null,
    description:
      'The origin of `publicUrl` at which all logins, callbacks and returns from a logout take place, so that the ' +
      'provider knows only this host. Requires `session.cookie.domain`. By default each host has its own login.',
  }),
  basePath: leaf(basePath, {
    default: '/oauth2',
    description: 'The path under which the gateway serves its own endpoints.',
  }),
  trustedProxies: leaf(list(addressRange), {
    default: [],
    description:
      'The IP addresses and CIDR ranges of the proxies in front of the gateway. The gateway trusts ' +
      '`X-Forwarded-*` and `X-Request-Id` headers from these addresses only. The clients of a Unix socket have no address: with ' +
      '`listen: unix:/path`, any list that is not empty trusts all of them.',
  }),
  upstream: leaf(upstream, {
    default: null,
    defaultText: 'none; required unless every route has its own',
    description:
      'The application that receives the requests of every route without its own `upstream`: an http or ' +
      'https origin, or `unix:/path`.',
  }),
  listenProxyProtocol: leaf(flag, {
    default: false,
    description:
      'Expects a PROXY protocol header, version 1 or 2, at the start of each connection to `listen`, and takes the ' +
      "client's address from it. `trustedProxies` must list the proxies that send it; the gateway closes all other " +
      'connections. Changing it requires a restart.',
  }),
  tls: optional(
    group('TLS on the public listener. The gateway reloads both files when they change.', {
      ...keyPair,
      minVersion: leaf(choice(['1.2', '1.3']), {
        default: '1.2',
        description: 'The lowest version of TLS that clients may use.',
      }),
      ciphers: leaf(ciphers, {
        default: null,
        defaultText: "Node.js's own list",
        description:
          'The cipher suites that clients may use: one string in the format of `openssl ciphers`, or a list. The suites of ' +
          'TLS 1.3, whose names begin with `TLS_`, are part of it: without any of them, the default ones of TLS 1.3 apply.',
      }),
      redirectFrom: leaf(listen, {
        default: null,
        description:
          'The address of a listener without TLS that redirects every request to the same path at its origin in `publicUrl`, ' +
          'such as `0.0.0.0:8080`. Changing it requires a restart.',
      }),
    }),
  ),
  admin: switchable(
    group(
      'The separate listener for health, metrics and, if `sessions` is set, session administration. `false` ' +
        'turns it off.',
      {
        listen: leaf(listen, {
          default: '127.0.0.1:9090',
          description: 'The address that the admin listener listens on. Changing it requires a restart.',
        }),
        hosts: leaf(list(hostName, { single: true }), {
          default: [],
          description:
            'The host names that the admin listener accepts besides `localhost` and the IP address that the ' +
            'request came to. A request for any other host gets a 421.',
        }),
        sessions: optionalOrWord(
          'loopback',
          group(
            'The clients that may list and end sessions: those that send `token`, or with `loopback` all clients ' +
              'on this machine. By default no client may.',
            {
              token: leaf(bearerSecret, {
                default: undefined,
                secret: 'whole',
                description:
                  'The bearer token that clients send to list and end sessions. With `loopback` in place of this ' +
                  'section (`GATEHOUSE_ADMIN_SESSIONS`), all clients on this machine may do so without a token.',
              }),
            },
          ),
        ),
      },
    ),
  ),
  forwardAuth: optional(
    group(
      'The separate forward-auth listener (docs/forward-auth.md), for a proxy that forwards requests itself ' +
        'and asks the gateway whether to let them in. It speaks plain HTTP, and is off unless this section or ' +
        'its variable is set. Only that proxy may reach it, because its responses carry access tokens. Changing ' +
        'this section requires a restart.',
      {
        listen: leaf(listen, {
          default: '127.0.0.1:8081',
          description: 'The address that the forward-auth listener listens on.',
        }),
      },
    ),
  ),
  provider,
  providers,
  session,
  scripts: group(
    'Rules for recognizing the request of a script (`fetch` or XMLHttpRequest), in addition to the ' +
      'built-in rules.',
    {
      headers: listOf(scriptHeader, "Headers that mark a request as a script's. One matching header is enough.", []),
      message: leaf(text(), {
        default: null,
        description:
          'The `detail` of the 401 response that scripts get as JSON problem details (RFC 9457). By default ' +
          'the gateway writes a text of its own.',
      }),
    },
  ),
  pages: group("The gateway's own HTML pages.", {
    title: leaf(text(), { default: null, description: 'The name of the site, shown on every page.' }),
    logo: leaf(logo, { default: null, description: 'The logo on every page: a URL, a path or a `data:image/` URL.' }),
    texts: leaf(map(text(), text()), {
      default: {},
      description:
        'Texts that replace the built-in ones in every language. docs/browser.md lists their names, such as ' +
        '`forbidden`, `forbidden.title` and `button.sign_in`. `lang` is the language of all pages, regardless of what the browser ' +
        'prefers.',
    }),
    languages: leaf(map(languageTag, map(text(), text())), {
      default: {},
      description:
        'Texts by language, such as `de: { forbidden: … }`. They take precedence over `texts` and over the built-in English, ' +
        'German, French and Spanish texts. Each page is in the language that the browser prefers, otherwise in English.',
    }),
    accentColor: leaf(accentColor, {
      default: null,
      description:
        'The color of buttons, links and the built-in icon: `"#rrggbb"` or `"#rgb"`, in quotes because `#` begins a ' +
        'comment, or `rgb(r, g, b)`. The text on a button is black or white, and links are darker or lighter than the color where it ' +
        'would be hard to read.',
    }),
    styleFile: leaf(styleFile, {
      default: null,
      description:
        'A CSS file of at most 64 kB that every page applies after its own style. The gateway reloads it when it changes. ' +
        'It may use images and fonts of the same origin and `data:` URLs, but no `@import`.',
    }),
    favicon: leaf(favicon, {
      default: null,
      defaultText: 'a built-in icon',
      description:
        'The icon of every page: an SVG, PNG, JPEG, ICO, GIF or WebP file of at most 64 kB, which the gateway reloads when ' +
        'it changes, or a `data:image/…` URL of at most 64 kB, which stays as it is.',
    }),
    contact: leaf(text(), {
      default: null,
      description:
        'Where users who may not open a page find help, for the page with status 403: any text. An email address and a URL ' +
        'with `mailto:`, `tel:`, `http:` or `https:` become a link.',
    }),
  }),
  assertion: optional(
    group(
      'The signed assertion that `{assertion}` in `headers.set` sends to the application: a JWT that proves that the ' +
        'request came through the gateway.',
      {
        keys: leaf(assertionKeys, {
          default: [],
          defaultText: 'one that the gateway generates when it starts',
          secret: 'whole',
          description:
            'One private key or a list, each as PEM without a passphrase or as a JWK (a map, or JSON): EC P-256 (ES256) or Ed25519 ' +
            '(EdDSA). The first one signs, and the endpoint `jwks` lists the public keys of all.',
        }),
        audience: leaf(text(), {
          default: null,
          defaultText: 'the public URL of the request',
          description: 'The `aud` of the assertion.',
        }),
        lifetime: leaf(duration({ min: 10_000 }), {
          default: '5m',
          description:
            'How long an assertion is valid, at least 10 seconds. The gateway signs another one after half of that time.',
        }),
        claims: leaf(list(text(), { single: true }), {
          default: [],
          description:
            'The claims of the user that the assertion contains in addition to `sub`, each named directly or by its path. In the ' +
            'assertion, the name is as written here.',
        }),
      },
    ),
  ),
  log: group('The log: JSON lines on stdout.', {
    level: leaf(choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']), {
      default: 'info',
      description: 'The lowest severity that the gateway logs.',
    }),
    user: leaf(text(), {
      default: 'sub',
      description:
        'The claim that names the user in access lines and security events, as `user`: a name or a path, as in ' +
        '`routes[].require.claims`. With `none`, no line names the user.',
    }),
    fields: leaf(list(choice(['bytes', 'user_agent', 'referer']), { single: true }), {
      default: [],
      description:
        'Further fields of access lines: `bytes` (of the response body), `user_agent`, `referer` (without its query).',
    }),
    exclude: leaf(list(pathPattern, { single: true }), {
      default: [],
      description:
        'Paths without access lines: exact, or with `*` and `**` as in `routes[].path`. Their requests are counted, and ' +
        'their security events are logged.',
    }),
  }),
  workers: leaf(workers, {
    default: 1,
    description:
      'The number of processes that serve requests. `auto` starts one per CPU core. More than one requires ' +
      'Redis. Changing it requires a restart.',
  }),
  shutdown: group('How the gateway stops after SIGTERM.', {
    wait: leaf(duration({ min: 0, timer: true }), {
      default: '0s',
      description: 'How long the gateway keeps serving, with `/readyz` reporting not ready, before it stops listening.',
    }),
    drain: leaf(duration({ min: 0, timer: true }), {
      default: '30s',
      description: 'How long requests in progress may take after `wait` before the gateway cuts them off.',
    }),
  }),
  limits,
  rateLimit: group(
    'How many requests each client address may send. The counts are in Redis if the sessions are in Redis.',
    {
      login: leaf(orOff(rate), { default: '300/1m', description: 'Requests to the login endpoint and to `silent`.' }),
      callback: leaf(orOff(rate), { default: '300/1m', description: 'Requests to the callback.' }),
      session: leaf(orOff(rate), { default: '600/1m', description: "Requests to the gateway's other endpoints." }),
      requests: leaf(orOff(rate), {
        default: 'off',
        description:
          'Requests to the application. Requests with a valid token of their own count for its client and user, not for the ' +
          'address.',
      }),
    },
  ),
  routes: listOf(
    route,
    'Which requests go to which application, and who may send them. The route with the most specific ' +
      'path wins, regardless of order.',
    [{ path: '/**' }],
  ),
})

/** The configuration as the schema resolves it, before the rules that compare keys have checked it. */
export type ResolvedConfig = Static<typeof schema>

/** A route as the schema resolves it; its upstream is null when neither the route nor the configuration has one. */
export type ResolvedRoute = ResolvedConfig['routes'][number]

export type Route = Omit<ResolvedRoute, 'upstream'> & { upstream: Upstream }

/** The keys that `provider` and each of `providers` have. */
export type ProviderSection = NonNullable<ResolvedConfig['provider']>

/** The settings of a provider, with its preset applied. */
export type ProviderSettings = Omit<ProviderSection, 'issuer' | 'responseMode'> & {
  /** The name in `providers`, or `undefined` for the key `provider`. */
  name: string | undefined
  title?: string | null
  issuer: string
  responseMode: NonNullable<ProviderSection['responseMode']>
}

/** The settings of sessions, with the path of the cookies filled in. */
export type SessionSettings = Omit<ResolvedConfig['session'], 'cookie'> & {
  cookie: Omit<ResolvedConfig['session']['cookie'], 'path'> & { path: string }
}

/** A valid configuration with all keys: durations in ms, sizes in bytes, and null for values that are not given. */
export type Config = Omit<ResolvedConfig, 'provider' | 'providers' | 'session' | 'routes'> & {
  provider: ProviderSettings | null
  providers: Record<string, ProviderSettings & { title: string | null }> | null
  session: SessionSettings
  routes: Route[]
}

/** Returns the providers of either key, in the order of the configuration. There is at least one. */
export function providersOf({ provider, providers }: Pick<Config, 'provider' | 'providers'>): ProviderSettings[] {
  return provider === null ? Object.values(providers ?? {}) : [provider]
}
