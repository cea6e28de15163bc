import { generateKeyPairSync } from 'node:crypto'
import t from 'tap'
import { parse } from 'yaml'
import { toMaskedYaml } from '../../src/config/masked-yaml.ts'
import { createAuthority } from '../support/certificates.ts'
import { key, loadText } from './configuration.ts'

const folder = t.testdir({ 'ca.pem': createAuthority().ca })
const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()

const { config } = loadText(
  folder,
  `publicUrl: https://orders.example.com
upstream: unix:/run/app.sock
listen: "[::1]:8080"
admin: false
provider:
  issuer: https://login.example.com
  clientId: orders
  clientSecret: client-secret-value
  privateKey: \${PEM}
  caFile: ca.pem
  sessionCheck: off
session:
  keys: ["${key}", "${Buffer.alloc(32, 9).toString('base64url')}"]
  idleTimeout: off
  refreshBefore: 90s
routes:
  - path: /api/**
    challenge: 401
    timeout: 90s
    maxBody: 64kb
    rewritePrefix: { from: /api, to: / }
    headers: { set: { X-User: "{claims.email}", X-Api-Key: fixed-api-key } }
`,
  { PEM: pem },
)

await t.test("the operator's spelling", async (t) => {
  t.match(parse(toMaskedYaml(config)), {
    listen: '[::1]:8080',
    publicUrl: ['https://orders.example.com'],
    upstream: 'unix:/run/app.sock',
    tls: null,
    admin: false,
    provider: { caFile: `${folder}/ca.pem`, timeout: '10s', sessionCheck: 'off' },
    session: { store: 'memory:?max=50000', lifetime: '10h', idleTimeout: 'off', refreshBefore: '90s' },
    rateLimit: { login: '300/1m', requests: 'off' },
    routes: [
      {
        path: '/api/**',
        challenge: '401',
        upstream: 'unix:/run/app.sock',
        timeout: '90s',
        maxBody: '64kb',
        rewritePrefix: { from: '/api', to: '/' },
        headers: { set: { 'X-User': '{claims.email}' } },
      },
    ],
  })
})

await t.test('every secret is masked', async (t) => {
  const secrets = (text: string): void => {
    const [, privatePart = ''] = pem.split('\n')
    for (const secret of ['client-secret-value', key, privatePart, 'fixed-api-key', 'CQkJ', 'redis-p', 'other-p']) {
      t.notOk(text.includes(secret), `no ${secret.slice(0, 6)}`)
    }
  }
  secrets(toMaskedYaml(config))
  t.match(parse(toMaskedYaml(config)), {
    provider: { clientSecret: '********', privateKey: '********' },
    session: { keys: ['********', '********'], redis: { password: null } },
    routes: [{ headers: { set: { 'X-Api-Key': '********' } } }],
  })

  const admin = { listen: { host: '::1', port: 1 }, hosts: ['a'], sessions: { token: 'admin-token-value' } }
  t.match(parse(toMaskedYaml({ ...config, admin })), { admin: { sessions: { token: '********' } } })
  t.match(parse(toMaskedYaml({ ...config, admin: { ...admin, sessions: 'loopback' } })), {
    admin: { listen: '[::1]:1', hosts: ['a'], sessions: 'loopback' },
  })
  t.match(parse(toMaskedYaml({ ...config, admin: { ...admin, sessions: null } })), { admin: { sessions: false } })

  const redis = structuredClone(config)
  redis.session.keys = config.session.keys
  redis.session.store = {
    kind: 'redis-cluster',
    urls: ['redis://user:redis-password@a', 'redis://user:redis-password@b'],
  }
  redis.session.redis.password = 'other-password'
  const described = toMaskedYaml(redis)
  secrets(described)
  t.match(parse(described), {
    session: { store: 'redis+cluster://user:********@a,b', redis: { password: '********' } },
  })
  redis.session.store = { kind: 'redis', url: 'redis://:redis-password@a:6379' }
  t.match(parse(toMaskedYaml(redis)), { session: { store: 'redis://:********@a:6379' } })
})
