import { duration, orOff, refreshBefore } from '../value-types/amount.ts'
import { list } from '../value-types/collection.ts'
import { cookieDomain, cookieName } from '../value-types/http.ts'
import { cookiePath } from '../value-types/path.ts'
import { choice, flag, integer, text } from '../value-types/scalar.ts'
import { file, sessionKey } from '../value-types/secret.ts'
import { store } from '../value-types/store.ts'
import { group, leaf } from '../schema-nodes.ts'

const cookie = group(
  'The session cookie. It is always `HttpOnly`, and over https also `Secure` with the `__Host-` prefix.',
  {
    name: leaf(cookieName, { default: 'gatehouse', description: 'The name of the cookie, without a prefix.' }),
    sameSite: leaf(choice(['lax', 'strict', 'none']), {
      default: 'lax',
      description: 'The `SameSite` attribute of the cookie. `none` requires https.',
    }),
    domain: leaf(cookieDomain, {
      default: null,
      description:
        'The `Domain` attribute of the cookie, for several public URLs under one domain. With it the cookie ' +
        'has no `__Host-` prefix.',
    }),
    path: leaf(cookiePath, {
      default: null,
      defaultText: 'the path above `basePath`',
      description:
        'The `Path` attribute of all cookies of the gateway, for several gateways on one host. It must cover ' +
        '`basePath`. With `basePath: /app1/oauth2`, the default is `/app1`. Requests outside the path have no ' +
        'session. With any other path than `/` the cookies have no `__Host-` prefix.',
    }),
    persistent: leaf(flag, {
      default: true,
      description: 'Whether a browser keeps the cookie when it is closed.',
    }),
    partitioned: leaf(flag, {
      default: false,
      description:
        'Adds `Partitioned` to all cookies of the gateway, for an application in a frame of another site: the ' +
        'browser keeps a session for each site that embeds the application, and a login takes place in the frame. ' +
        'Requires `sameSite: none` and https.',
    }),
  },
)

const redis = group('Settings for the connection to Redis, in addition to the URL in `store`.', {
  caFile: leaf(file('certificate'), {
    default: null,
    description: 'A PEM file with the CA certificates that the gateway trusts for Redis.',
  }),
  certFile: leaf(file('certificate'), {
    default: null,
    description: 'The PEM file with the client certificate.',
  }),
  keyFile: leaf(file('private key'), {
    default: null,
    description: 'The PEM file with the private key of the client certificate.',
  }),
  username: leaf(text(), { default: null, description: 'The user name, if the URL does not contain one.' }),
  password: leaf(text({ secret: true }), {
    default: null,
    secret: 'whole',
    description: 'The password, if the URL does not contain one.',
  }),
})

export const session = group('How sessions are sealed, how long they last and where they are stored.', {
  keys: leaf(list(sessionKey, { min: 1 }), {
    default: [],
    defaultText: 'one random key',
    secret: 'whole',
    description:
      'Keys of 32 bytes in base64, as `gatehouse keygen` prints them. The first key seals (encrypts and ' +
      'authenticates) cookies; a cookie that was sealed with any of the keys can be opened. With the ' +
      'random default key, a restart ends all sessions.',
  }),
  store: leaf(store, {
    default: 'memory:',
    secret: 'password',
    description:
      'Where sessions are stored. `memory:` keeps up to 50000 sessions in this process, and `memory:?max=N` ' +
      'up to N. `redis://`, `rediss://`, `redis+cluster://a,b,c` and `redis+sentinel://a,b,c/NAME` share ' +
      'sessions between processes. In YAML, put `"memory:"` in quotes. Changing anything but the user name ' +
      'and password requires a restart.',
  }),
  cookie,
  lifetime: leaf(duration(), {
    default: '10h',
    description: 'How long a session lasts after login, even if it is in use.',
  }),
  idleTimeout: leaf(orOff(duration()), {
    default: '30m',
    description: 'How long a session may be unused before it ends.',
  }),
  endWithIdToken: leaf(flag, {
    default: false,
    description: 'Ends the session when its ID token expires. A refresh that brings a new ID token moves the end.',
  }),
  refreshBefore: leaf(refreshBefore, {
    default: '50%',
    description:
      'When the gateway refreshes the access token: once this percentage of the lifetime of the token remains, ' +
      'or this long before the token expires.',
  }),
  redis,
  outageGrace: leaf(duration({ min: 0 }), {
    default: '60s',

    description: 'How long sessions that this process already knows stay valid while the store is unavailable.',
  }),
  maxPerUser: leaf(integer(1), {
    default: null,
    description: 'The maximum number of sessions per user. A further login ends the oldest session.',
  }),
})
