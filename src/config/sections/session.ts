import { duration, orOff, refreshBefore } from '../value-types/amount.ts'
import { list } from '../value-types/collection.ts'
import { cookieDomain, cookieName } from '../value-types/http.ts'
import { choice, flag, integer, text } from '../value-types/scalar.ts'
import { file, sessionKey } from '../value-types/secret.ts'
import { store } from '../value-types/store.ts'
import { group, leaf } from '../schema-nodes.ts'

const cookie = group('The session cookie. It is always HttpOnly, and on https Secure with the `__Host-` prefix.', {
  name: leaf(cookieName, { default: 'gatehouse', description: 'Its name, without a prefix.' }),
  sameSite: leaf(choice(['lax', 'strict', 'none']), {
    default: 'lax',
    description: 'Its SameSite attribute; `none` needs https.',
  }),
  domain: leaf(cookieDomain, {
    default: null,
    description:
      'Its Domain attribute, for several public URLs under one domain. With it there is no `__Host-` prefix.',
  }),
})

const redis = group('How the connection to Redis is made, beside what the URL in `store` says.', {
  caFile: leaf(file('certificate'), {
    default: null,
    description: 'Certificates in PEM that are trusted for Redis.',
  }),
  certFile: leaf(file('certificate'), {
    default: null,
    description: 'The client certificate in PEM.',
  }),
  keyFile: leaf(file('private key'), {
    default: null,
    description: 'The private key of the client certificate in PEM.',
  }),
  username: leaf(text(), { default: null, description: 'The user name, when not in the URL.' }),
  password: leaf(text({ secret: true }), {
    default: null,
    secret: 'whole',
    description: 'The password, when not in the URL.',
  }),
})

/** What a session is, how long it lives and where it is kept. */
export const session = group('What a session is, how long it lives and where it is kept.', {
  keys: leaf(list(sessionKey, { min: 1 }), {
    default: [],
    defaultText: 'one random key',
    secret: 'whole',
    description:
      'Keys of 32 bytes in base64, such as `gatehouse keygen` prints. The first seals, all of them open. ' +
      'With the random key every restart ends all sessions.',
  }),
  store: leaf(store, {
    default: 'memory:',
    secret: 'password',
    description:
      'Where sessions are kept. `memory:` keeps up to 50000 in this process, `memory:?max=N` up to N; ' +
      '`redis://`, `rediss://`, `redis+cluster://a,b,c` and `redis+sentinel://a,b,c/NAME` share them. ' +
      'In YAML put `"memory:"` in quotes. Another place needs a restart.',
  }),
  cookie,
  lifetime: leaf(duration(), { default: '10h', description: 'When a session ends whatever happens.' }),
  idleTimeout: leaf(orOff(duration()), {
    default: '30m',
    description: 'When a session ends that nobody uses.',
  }),
  endWithIdToken: leaf(flag, {
    default: false,
    description: 'Ends the session when its ID token expires; a refreshed ID token moves the end.',
  }),
  refreshBefore: leaf(refreshBefore, {
    default: '50%',
    description:
      'When the access token is refreshed: once this much of its lifetime remains, or this long before its end.',
  }),
  redis,
  outageGrace: leaf(duration({ min: 0 }), {
    default: '60s',

    description: 'How long sessions that this process already knows go on while the store is down.',
  }),
  maxPerUser: leaf(integer(1), {
    default: null,

    description: 'How many sessions one user may have; a further login ends the oldest.',
  }),
})
