import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, constants, openSync, readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { builtProgram } from '../support/program.ts'
import { freePort } from '../support/free-port.ts'
import { ask, sendRaw } from '../support/raw-http.ts'
import { startRedis } from '../support/redis.ts'
import { eventually } from '../support/eventually.ts'

const idp = await startIdp()
t.teardown(() => idp.close())

type Logging = {
  readonly url: string
  readonly child: ChildProcess
  /** Reads what is in the pipe and all that still comes. */
  readonly read: () => { readonly text: () => string }
  /** Closes the reader's end. */
  readonly leave: () => void
}

/** The program, with a pipe for its log that is not read yet. */
async function start(t: Test, env: Record<string, string> = {}): Promise<Logging> {
  const port = await freePort()
  const pipe = join(t.testdir({}), 'log')
  execFileSync('/usr/bin/mkfifo', [pipe])
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK)
  const writer = openSync(pipe, constants.O_WRONLY)
  const child = spawn(process.execPath, [builtProgram, 'start'], {
    env: {
      GATEHOUSE_LISTEN: `127.0.0.1:${port}`,
      GATEHOUSE_ADMIN: 'false',
      GATEHOUSE_PUBLIC_URL: `http://127.0.0.1:${port}`,
      GATEHOUSE_UPSTREAM: 'http://127.0.0.1:1',
      GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
      GATEHOUSE_PROVIDER_CLIENT_ID: 'orders',
      GATEHOUSE_PROVIDER_CLIENT_SECRET: 'hush',
      GATEHOUSE_SESSION_KEYS: Buffer.alloc(32, 7).toString('base64'),
      ...env,
    },
    stdio: ['ignore', writer, 'inherit'],
  })
  closeSync(writer)
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  const url = `http://127.0.0.1:${port}`
  await eventually(async () => (await ask(url, 'GET', '/oauth2/session')).status === 401, {
    what: 'the gateway listens',
    timeoutMs: 30_000,
  })
  let open = true
  const leave = (): void => {
    if (open) closeSync(reader)
    open = false
  }
  t.teardown(leave)
  return {
    url,
    child,
    leave,
    read() {
      open = false
      let text = ''
      new Socket({ fd: reader, readable: true, writable: false }).setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      return { text: () => text }
    },
  }
}

const path = `/${'x'.repeat(800)}`

/** Makes so many log lines of about a kilobyte. */
async function log(url: string, lines: number): Promise<void> {
  const batch = 500
  for (let made = 0; made < lines; made += batch)
    await sendRaw(
      url,
      `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(batch - 1) +
        `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`,
      30_000,
    )
}

async function stopped(child: ChildProcess): Promise<{ status: number | null; after: number }> {
  const before = Date.now()
  child.kill('SIGTERM')
  if (child.exitCode === null && child.signalCode === null) await Promise.race([once(child, 'exit'), sleep(20_000)])
  return { status: child.exitCode, after: Date.now() - before }
}

const memoryOf = ({ pid }: ChildProcess): number =>
  Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid ?? ''}/status`, 'utf8'))?.[1]) / 1024

void t.test(
  'a log that is not read uses bounded memory, and lost lines are reported when it is read again',
  async (t) => {
    const gateway = await start(t)
    await log(gateway.url, 60_000)
    const before = memoryOf(gateway.child)
    await log(gateway.url, 60_000)
    const grown = memoryOf(gateway.child) - before
    t.ok(grown < 40, `60 MB of lines more, and it has grown by ${grown.toFixed(0)} MB`)
    const { text } = gateway.read()
    await eventually(() => text().includes('"event":"log_lines_lost"'), { what: 'the gap is reported' })
    await ask(gateway.url, 'GET', '/last')
    await eventually(() => text().includes('"path":"/last"'), { what: 'new lines are written' })
    const [, lost] = /"event":"log_lines_lost","lines":(\d+)/.exec(text()) ?? []
    const came = text()
      .split('\n')
      .filter((line) => line.includes('"path":"/xxx')).length
    t.equal(came + Number(lost), 120_000, 'every line is written or counted')
    t.same(
      text()
        .trimEnd()
        .split('\n')
        .filter((line) => typeof JSON.parse(line) !== 'object'),
      [],
      'all lines are whole',
    )
    t.equal((await stopped(gateway.child)).status, 0)
  },
)

const redis = await startRedis(t)

for (const workers of ['1', '2']) {
  const env = workers === '1' ? {} : { GATEHOUSE_WORKERS: workers, GATEHOUSE_SESSION_STORE: redis.url }

  void t.test(`SIGTERM ends a gateway whose log is not read with status 0, workers: ${workers}`, async (t) => {
    const gateway = await start(t, env)
    await log(gateway.url, 1_000)
    const { status, after } = await stopped(gateway.child)
    t.equal(status, 0)
    t.ok(after < 10_000, `${after} ms`)
  })

  void t.test(`SIGTERM ends a gateway whose log’s reader has gone with status 0, workers: ${workers}`, async (t) => {
    const gateway = await start(t, env)
    gateway.leave()
    await log(gateway.url, 1_000)
    const { status, after } = await stopped(gateway.child)
    t.equal(status, 0)
    t.ok(after < 10_000, `${after} ms`)
  })
}
