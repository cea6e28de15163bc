import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { startIdp, type Idp, type IdpOptions } from '../../src/demo/idp.ts'
import { startUpstream, type Upstream } from '../../src/demo/upstream.ts'
import { createBrowser, type Browser } from './browser.ts'
import { freePort } from './free-port.ts'
import { asFile } from './gateway.ts'
import { eventually } from './eventually.ts'

export type GatewayProcess = {
  readonly url: string
  readonly admin: string
  readonly pid: number
  /** The lines of stdout and stderr. */
  readonly lines: string[]
  readonly events: (name: string) => Record<string, unknown>[]
  readonly pause: () => void
  readonly goOn: () => void
  readonly kill: () => Promise<void>
  readonly hangUp: () => void
  /** Stops the gateway; resolves with the exit status and the duration in ms. */
  readonly stop: () => Promise<{ status: number | null; after: number }>
}

export type Replicas = {
  readonly gateways: readonly [GatewayProcess, GatewayProcess, ...GatewayProcess[]]
  readonly idp: Idp
  readonly upstream: Upstream
  /** Starts another gateway, with changes in its configuration. */
  readonly another: (change?: Change) => Promise<GatewayProcess>
  /** Logs a user in; the browser's cookie is valid at every replica. */
  readonly login: (user?: string) => Promise<Browser>
}

type Change = {
  readonly session?: object
  readonly provider?: object
  readonly shutdown?: object
  readonly withoutStore?: boolean
  /** The ports of the public and of the admin listener; by default, free ones. */
  readonly ports?: { readonly port: number; readonly adminPort: number }
}

type Options = Change & {
  readonly store: string
  /** Default 2. */
  readonly count?: number
  readonly idp?: IdpOptions
  readonly routes?: readonly object[]
}

const asObject = (line: string): Record<string, unknown> => {
  const value: unknown = JSON.parse(line)
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

const root = fileURLToPath(new URL('../..', import.meta.url))

const newestIn = (folder: string): number =>
  Math.max(
    ...readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => statSync(join(folder, name)).mtimeMs),
  )

/** The built program if it is newer than the source, otherwise the source, which starts more slowly. */
const program = (): string[] => {
  const built = join(root, 'dist/main.js')
  const builtAt = statSync(built, { throwIfNoEntry: false })?.mtimeMs ?? 0
  return builtAt >= newestIn(join(root, 'src')) ? [built] : ['--import=tsx', join(root, 'src/main.ts')]
}

/** Starts a gateway with a configuration file, and waits until it listens; the gateway ends with the test. */
export const startProcess = async (t: Test, file: string, url: string, admin: string): Promise<GatewayProcess> => {
  const child: ChildProcess = spawn(process.execPath, [...program(), 'start', '--config', file], {
    cwd: root,
    env: {},
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  const lines: string[] = []
  for (const stream of [child.stdout, child.stderr]) {
    let rest = ''
    stream?.setEncoding('utf8').on('data', (text: string) => {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      lines.push(...parts)
    })
  }
  await eventually(
    () => {
      if (child.exitCode !== null) throw new Error(`the gateway has ended: ${lines.join('\n')}`)
      return lines.some((line) => line.includes('"event":"listening"'))
    },
    { what: 'the gateway listens', timeoutMs: 60_000 },
  )
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill(signal)
    await exited
  }
  return {
    url,
    admin,
    pid: child.pid ?? 0,
    lines,
    events: (name) => lines.filter((line) => line.includes(`"event":"${name}"`)).map(asObject),
    pause() {
      child.kill('SIGSTOP')
    },
    goOn() {
      child.kill('SIGCONT')
    },
    kill: async () => end('SIGKILL'),
    hangUp() {
      child.kill('SIGHUP')
    },
    async stop() {
      const before = Date.now()
      await end('SIGTERM')
      return { status: child.exitCode, after: Date.now() - before }
    },
  }
}

/**
 * Starts gateways in their own processes, with the demo's provider and the sample application in this one; all end
 * with the test.
 */
export const startReplicas = async (t: Test, options: Options): Promise<Replicas> => {
  const idp = await startIdp(options.idp)
  const upstream = await startUpstream()
  t.teardown(async () => {
    await idp.close()
    await upstream.close()
  })
  const clientSecret = randomBytes(16).toString('hex')
  const keys = [randomBytes(32).toString('base64')]
  const publicUrl = `http://127.0.0.1:${await freePort()}`
  await idp.registerClient({
    clientId: 'replicated',
    clientSecret,
    redirectUris: [`${publicUrl}/oauth2/callback`],
    postLogoutRedirectUris: [`${publicUrl}/oauth2/logout/callback`],
  })
  const start = async (url: string, change: Change): Promise<GatewayProcess> => {
    const admin = `127.0.0.1:${change.ports?.adminPort ?? (await freePort())}`
    const file = asFile(t, {
      listen: new URL(url).host,
      publicUrl,
      upstream: upstream.url,
      admin: { listen: admin, sessions: 'loopback' },
      rateLimit: { login: 'off', callback: 'off', session: 'off', requests: 'off' },
      provider: { issuer: idp.issuer, clientId: 'replicated', clientSecret, ...options.provider, ...change.provider },
      session: { keys, store: options.store, ...options.session, ...change.session },
      ...(options.routes === undefined ? {} : { routes: options.routes }),
      shutdown: { ...options.shutdown, ...change.shutdown },
      log: { level: 'debug' },
    })
    const gateway = await startProcess(t, file, url, `http://${admin}`)
    if ((change.withoutStore ?? options.withoutStore) !== true)
      await eventually(async () => (await fetch(`${gateway.admin}/readyz`)).status === 200, {
        what: 'the gateway is ready',
        timeoutMs: 30_000,
      })
    return gateway
  }
  const another = async (change: Change = {}): Promise<GatewayProcess> =>
    start(`http://127.0.0.1:${change.ports?.port ?? (await freePort())}`, change)
  const more = Array.from({ length: (options.count ?? 2) - 2 }, async () => another())
  const [a, b, ...others] = await Promise.all([start(publicUrl, {}), another(), ...more])
  return {
    gateways: [a, b, ...others],
    idp,
    upstream,
    another,
    async login(user = 'alice') {
      const browser = createBrowser()
      const { answer } = await browser.login(`${publicUrl}/`, user)
      if (answer.status !== 200)
        throw new Error(`the login ended with ${answer.status} at ${answer.url}: ${answer.body.slice(0, 300)}`)
      return browser
    },
  }
}

export const statusAt = async (browser: Browser, { url }: GatewayProcess, path = '/api/echo'): Promise<number> =>
  (await browser.get(`${url}${path}`, { kind: 'script', timeout: 30_000 })).status

/** Returns the browser's Cookie header for a gateway, for requests that must not change the browser's cookies. */
export const cookieOf = (browser: Browser, { url }: GatewayProcess): string =>
  browser.cookies.header(new URL(url), { crossSite: false, topLevelGet: true })
