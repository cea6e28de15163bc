import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createAuthority } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { startReplicas, statusAt } from '../../support/gateway-process.ts'
import { PERMISSIONS, startRedis } from '../../support/redis.ts'
import { eventually } from '../../support/eventually.ts'

void t.test(
  'Redis works over TLS with a private CA and a client certificate, with an ACL user and another database',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gatehouse-tls-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true })
    })
    const [authority, stranger] = [createAuthority(), createAuthority()]
    const [server, client, foreign] = [
      authority.issue(['127.0.0.1', 'localhost']),
      authority.issue(['gateway']),
      stranger.issue(['gateway']),
    ]
    const file = (name: string, content: string): string => {
      writeFileSync(join(folder, name), content)
      return join(folder, name)
    }
    const caFile = file('ca.pem', authority.ca)
    const clientFiles = { certFile: file('client.pem', client.cert), keyFile: file('client.key', client.key) }
    const port = await freePort()
    const redis = await startRedis(t, {
      port,
      args: [
        '--port',
        '0',
        '--tls-port',
        String(port),
        '--tls-cert-file',
        file('server.pem', server.cert),
        '--tls-key-file',
        file('server.key', server.key),
        '--tls-ca-cert-file',
        caFile,
        '--tls-auth-clients',
        'yes',
        '--save',
        '',
        '--appendonly',
        'no',
      ],
      client: { socket: { tls: true, host: '127.0.0.1', port, ca: authority.ca, cert: client.cert, key: client.key } },
    })
    await redis.command('ACL', 'SETUSER', 'gateway', 'on', '>s3cret@:/word', ...PERMISSIONS)
    const store = `rediss://localhost:${port}/5`
    const {
      gateways: [a, b],
      login,
      another,
    } = await startReplicas(t, {
      store,
      session: { redis: { caFile, ...clientFiles, username: 'gateway', password: 's3cret@:/word' }, maxPerUser: 2 },
    })
    const browser = await login()
    t.equal(await statusAt(browser, b), 200)
    await browser.post(`${a.url}/oauth2/session/refresh`, undefined, {
      kind: 'script',
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    t.equal(await statusAt(browser, b), 200)
    t.equal((await fetch(`${a.admin}/sessions?sub=alice`)).status, 200)
    await browser.post(`${a.url}/oauth2/logout/local`, undefined, {
      kind: 'script',
      headers: { 'sec-fetch-site': 'same-origin' },
    })
    await eventually(async () => (await statusAt(browser, b)) === 401, {
      what: 'B refuses the session',
      timeoutMs: 900,
    })
    await login('bob')
    t.match(String(await redis.command('INFO', 'keyspace')), /db5:keys=/)
    t.notMatch(String(await redis.command('INFO', 'keyspace')), /db0:keys=/)
    t.same(await redis.command('ACL', 'LOG'), [], 'it uses only its permissions')
    t.notMatch([...a.lines, ...b.lines].join('\n'), /s3cret/)

    const url = `rediss://gateway:${encodeURIComponent('s3cret@:/word')}@localhost:${port}/5`
    const byUrl = await another({ session: { store: url, redis: { caFile, ...clientFiles } } })
    t.equal((await fetch(`${byUrl.admin}/readyz`)).status, 200, 'user and password can be in the URL')
    t.notMatch(byUrl.lines.join('\n'), /s3cret/)

    const refused = {
      'another authority': {
        caFile: file('other.pem', stranger.ca),
        ...clientFiles,
        username: 'gateway',
        password: 's3cret@:/word',
      },
      'no client certificate': { caFile, username: 'gateway', password: 's3cret@:/word' },
      'a stranger’s certificate': {
        caFile,
        certFile: file('foreign.pem', foreign.cert),
        keyFile: file('foreign.key', foreign.key),
      },
      'a wrong password': { caFile, ...clientFiles, username: 'gateway', password: 'guessed' },
    }
    await Promise.all(
      Object.entries(refused).map(async ([what, settings]) => {
        const gateway = await another({ session: { redis: settings }, withoutStore: true })
        await eventually(() => gateway.events('store_unavailable').length > 0, { what: `${what} is logged` })
        t.equal((await fetch(`${gateway.admin}/readyz`)).status, 503, what)
        t.notMatch(gateway.lines.join('\n'), /guessed|s3cret|unhandled/i)
        t.equal(gateway.events('store_connected').length, 0)
      }),
    )
  },
)
