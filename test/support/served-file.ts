import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import type { Idp } from '../../src/demo/idp.ts'
import type { Upstream } from '../../src/demo/upstream.ts'
import { createBrowser, type Browser } from './browser.ts'
import { freePort } from './free-port.ts'
import { asFile } from './gateway.ts'
import { startProcess, type GatewayProcess } from './gateway-process.ts'
import { eventually } from './eventually.ts'

export const adminToken = 'an-administrators-token'

type Settings = Readonly<Record<string, unknown>>

export type ServedFile = GatewayProcess & {
  readonly file: string
  /** Rewrites the file with changed keys, and returns its settings. */
  readonly rewrite: (change: Settings) => Settings
  readonly login: (user?: string) => Promise<Browser>
}

/** Starts a gateway in front of `upstream`, with this provider and additional keys, and waits until it is ready. */
export const serveFile = async (
  t: Test,
  { idp, upstream, port: requestedPort }: { idp: Idp; upstream: Upstream; port?: number },
  settings: Settings = {},
): Promise<ServedFile> => {
  const [port, adminPort] = [requestedPort ?? (await freePort()), await freePort()]
  const url = String(settings['publicUrl'] ?? `http://127.0.0.1:${port}`)
  const clientSecret = randomBytes(16).toString('hex')
  await idp.registerClient({
    clientId: `client-${port}`,
    clientSecret,
    redirectUris: [`${url}/oauth2/callback`],
    postLogoutRedirectUris: [`${url}/oauth2/logout/callback`],
  })
  let written: Settings = {
    listen: `127.0.0.1:${port}`,
    publicUrl: url,
    upstream: upstream.url,
    admin: { listen: `127.0.0.1:${adminPort}`, sessions: { token: adminToken } },
    provider: { issuer: idp.issuer, clientId: `client-${port}`, clientSecret },
    session: { keys: [randomBytes(32).toString('base64')] },
    ...settings,
  }
  const file = asFile(t, written)
  const gateway = await startProcess(t, file, url, `http://127.0.0.1:${adminPort}`)
  await eventually(async () => (await fetch(`${gateway.admin}/readyz`)).status === 200, {
    what: 'the gateway is ready',
    timeoutMs: 30_000,
  })
  return {
    ...gateway,
    file,
    rewrite(change) {
      written = { ...written, ...change }
      writeFileSync(file, stringify(written))
      return written
    },
    async login(user = 'alice') {
      const browser = createBrowser()
      const { answer } = await browser.login(`${url}/`, user)
      if (answer.status !== 200) throw new Error(`the login ended with ${answer.status} at ${answer.url}`)
      return browser
    },
  }
}

/** Waits for the next log line of an event, after the first `before` ones. */
export const nextEvent = async (
  gateway: GatewayProcess,
  name: string,
  before: number,
): Promise<Record<string, unknown>> => {
  await eventually(() => gateway.events(name).length > before, { what: `${name} is logged`, timeoutMs: 20_000 })
  return gateway.events(name)[before] ?? {}
}
