import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { boundPort } from '../../src/demo/bound-port.ts'
import { explainListenErrors } from '../../src/cli/listen.ts'
import { loadConfig } from '../../src/config/load.ts'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { compileRoutes } from '../../src/gate/match.ts'
import { createListener } from '../../src/http/server/listener.ts'
import { createRefusals } from '../../src/http/server/parser-errors.ts'
import { openLog } from '../../src/telemetry/log.ts'
import { createMetrics } from '../../src/telemetry/metrics.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { startProgram } from '../support/program.ts'
import { nextEvent, serveFile } from '../support/served-file.ts'

const settings = (listen: string, admin: string | false): Record<string, unknown> => ({
  listen,
  publicUrl: 'https://orders.example.com',
  upstream: 'http://127.0.0.1:1',
  admin: admin === false ? false : { listen: admin },
  provider: { issuer: 'https://login.example.com', clientId: 'a', clientSecret: 'b' },
  session: { keys: [Buffer.alloc(32, 9).toString('base64')] },
})

const startedWith = async (
  t: Test,
  listen: string,
  admin: string | false = false,
  more: Readonly<Record<string, unknown>> = {},
): Promise<string> => {
  const file = asFile(t, { ...settings(listen, admin), ...more })
  const { status, stdout, stderr } = await startProgram(t, ['start', '--config', file]).ended
  t.equal(status, 1)
  t.match(stderr, /^gatehouse: [^\n]+\n$/, 'one line')
  const { level, event, msg }: Readonly<Record<string, string>> = JSON.parse(stdout.trimEnd().split('\n').at(-1) ?? '')
  t.same([level, event], ['error', 'start_failed'], 'the log has it, too')
  t.ok(stderr.startsWith(`gatehouse: ${msg ?? 'no message'}`), 'with the same message')
  return stderr
}

const takenPort = async (t: Test): Promise<number> => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  t.teardown(() => taken.close())
  return boundPort(taken)
}

void t.test(
  'an address that can’t be listened on is reported with its key, the cause and what to write instead',
  async (t) => {
    const port = await takenPort(t)
    t.match(await startedWith(t, `127.0.0.1:${port}`), `gatehouse: listen: port ${port} is taken; choose another one`)
    t.match(
      await startedWith(t, `127.0.0.1:${await freePort()}`, `127.0.0.1:${port}`),
      `gatehouse: admin.listen: port ${port} is taken; choose another one`,
    )
    t.match(
      await startedWith(t, `127.0.0.1:${await freePort()}`, false, { forwardAuth: { listen: `127.0.0.1:${port}` } }),
      `gatehouse: forwardAuth.listen: port ${port} is taken; choose another one`,
    )
    t.match(await startedWith(t, '192.0.2.1:8080'), 'listen: this machine has no address 192.0.2.1; choose one that')
    t.match(
      await startedWith(t, 'nowhere.invalid:8080'),
      'listen: nowhere.invalid has no address; choose an IP address',
    )
  },
)

void t.test('an address that workers can’t listen on is reported in the same way', async (t) => {
  const port = await takenPort(t)
  const workers = { workers: 2, session: { keys: [Buffer.alloc(32).toString('base64')], store: 'redis://127.0.0.1:1' } }
  const [ofListen, ofAdmin] = await Promise.all([
    startedWith(t, `127.0.0.1:${port}`, false, workers),
    startedWith(t, `127.0.0.1:${await freePort()}`, `127.0.0.1:${port}`, workers),
  ])
  t.match(ofListen, `gatehouse: listen: port ${port} is taken; choose another one`)
  t.match(ofAdmin, `gatehouse: admin.listen: port ${port} is taken; choose another one`)
})

void t.test('a Unix socket that can’t be created is reported with its key and the cause', async (t) => {
  // A socket's path may have 107 bytes.
  const folder = mkdtempSync(join(tmpdir(), 'gh-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const nowhere = join(folder, 'missing', 'gate.sock')
  t.match(await startedWith(t, `unix:${nowhere}`), `gatehouse: listen: there is no directory for ${nowhere}; create it`)
  t.match(
    await startedWith(t, `127.0.0.1:${await freePort()}`, `unix:${nowhere}`),
    `gatehouse: admin.listen: there is no directory for ${nowhere}`,
  )
  const file = join(folder, 'file')
  writeFileSync(file, 'something else')
  t.match(await startedWith(t, `unix:${file}`), `gatehouse: listen: ${file} is taken; choose another path`)
  t.match(await startedWith(t, `unix:${file}/gate.sock`), `gatehouse: listen: there is no directory for ${file}/gate`)
})

void t.test('rare listen errors are reported with their cause', async (t) => {
  const refused = async (code: string, where: Parameters<typeof explainListenErrors>[1]): Promise<unknown> =>
    explainListenErrors('listen', where, async () => Promise.reject(Object.assign(new Error('no'), { code }))).catch(
      (error: unknown) => error,
    )
  t.match(await refused('EACCES', { host: '0.0.0.0', port: 443 }), {
    message: /^listen: port 443 is not allowed; choose one from 1024 up, or .*CAP_NET_BIND_SERVICE/,
    cause: { code: 'EACCES' },
  })
  t.match(await refused('EACCES', { path: '/gate.sock' }), {
    message: /^listen: \/gate\.sock can't be created; choose a path in a directory/,
  })
  t.match(await refused('EAFNOSUPPORT', { host: '::1', port: 80 }), { message: "listen: can't listen on ::1 port 80" })
})

void t.test('a Unix socket has its mode from the beginning, with any umask', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'gh-'))
  const usual = process.umask()
  t.teardown(() => {
    process.umask(usual)
    rmSync(folder, { recursive: true })
  })
  const { config } = loadConfig({ env: {}, file: asFile(t, settings('127.0.0.1:0', false)) })
  const { log } = openLog('silent')
  const refusals = createRefusals({
    log,
    metrics: createMetrics(),
    config: () => config,
    routes: () => compileRoutes(config.routes, config.basePath),
    findCors: () => () => ({}),
  })
  for (const umask of [0, 0o022, 0o077])
    for (const mode of [0o660, 0o600, 0o666, 0o777, null]) {
      process.umask(umask)
      const path = join(folder, `${umask}-${mode}.sock`)
      const listener = createListener(null, () => undefined, log, config.limits, refusals)
      const listening = listener.listen({ path }, mode)
      const first = statSync(path).mode & 0o777
      await listening
      const then = statSync(path).mode & 0o777
      t.same(
        [first, then],
        Array(2).fill(mode ?? 0o777 & ~umask),
        `umask ${umask.toString(8)}, mode ${mode?.toString(8)}`,
      )
      t.equal(process.umask(), umask, 'the umask is the same again')
      listener.cut()
      await listener.close()
    }
})

void t.test(
  'the gateway listens on a Unix socket with the configured mode, and refuses to change it without a restart',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'gh-'))
    t.teardown(() => {
      rmSync(folder, { recursive: true })
    })
    const path = join(folder, 'gate.sock')
    const [idp, upstream] = await Promise.all([startIdp(), startUpstream()])
    t.teardown(async () => Promise.all([idp.close(), upstream.close()]))
    const gateway = await serveFile(t, { idp, upstream }, { listen: `unix:${path}`, listenMode: '0660' })
    t.equal(statSync(path).mode & 0o777, 0o660)
    gateway.rewrite({ listenMode: '0666' })
    t.match(await nextEvent(gateway, 'reload_refused', 0), { restart: ['listenMode'] })
    t.equal(statSync(path).mode & 0o777, 0o660)
  },
)
