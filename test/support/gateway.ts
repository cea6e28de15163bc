import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { stringify } from 'yaml'
import { buildApp, type Gatehouse } from '../../src/app.ts'
import { loadConfig } from '../../src/config/load.ts'
import type { Config, ProviderSettings } from '../../src/config/schema.ts'
import { startIdp, type Idp, type IdpOptions } from '../../src/demo/idp.ts'
import { startUpstream, type Upstream } from '../../src/demo/upstream.ts'
import { openLog } from '../../src/telemetry/log.ts'
import { freePort } from './free-port.ts'

type Settings = { readonly [key: string]: unknown }

export type Running = {
  readonly url: string
  /** The address of the forward-auth listener; empty without `forwardAuth`. */
  readonly verdicts: string
  readonly gateway: Gatehouse
  /** Tests with `providers` do not read `provider`, which is then null. */
  readonly config: Config & { readonly provider: ProviderSettings }
  readonly idp: Idp
  readonly upstream: Upstream
  /** All log lines, at every level. */
  readonly log: string[]
  readonly events: (name: string) => Record<string, unknown>[]
}

type Options = {
  /** Merged into the configuration, section by section. */
  readonly config?: Settings
  readonly idp?: Idp | IdpOptions
  readonly upstream?: Upstream
  /** The client's settings at the provider besides id, secret and redirect URIs. */
  readonly client?: object
  readonly port?: number
  /** The public URL, if it differs from the listening address. */
  readonly publicUrl?: string
}

/** Starts a real gateway in front of the sample application, with the demo's provider; all end with the test. */
export const startGateway = async (t: Test, options: Options = {}): Promise<Running> => {
  const idp = options.idp !== undefined && 'issuer' in options.idp ? options.idp : await startIdp(options.idp)
  const upstream = options.upstream ?? (await startUpstream())
  const port = options.port ?? (await freePort())
  const url = options.publicUrl ?? `http://127.0.0.1:${port}`
  const clientId = `client-${port}`
  const clientSecret = randomBytes(16).toString('hex')
  await idp.registerClient({
    clientId,
    clientSecret,
    redirectUris: [`${url}/oauth2/callback`],
    postLogoutRedirectUris: [`${url}/oauth2/logout/callback`],
    ...options.client,
  })
  const { config } = loadConfig({
    env: {},
    file: asFile(
      t,
      merged(
        {
          listen: `127.0.0.1:${port}`,
          publicUrl: url,
          upstream: upstream.url,
          admin: false,
          provider: { issuer: idp.issuer, clientId, clientSecret },
          session: { keys: [randomBytes(32).toString('base64')] },
          log: { level: 'trace' },
        },
        options.config ?? {},
      ),
    ),
  })
  const log: string[] = []
  const { log: logger } = openLog('trace', {
    stream: {
      write: (line: string) => {
        log.push(line)
      },
    },
  })
  const gateway = await buildApp(config, logger)
  await gateway.listener.listen({ host: '127.0.0.1', port })
  const { forwardAuth } = config
  if (forwardAuth !== null) await gateway.forwardAuth?.listen(forwardAuth.listen)
  const redirectFrom = config.tls?.redirectFrom ?? null
  if (redirectFrom !== null) await gateway.redirect?.listen(redirectFrom)
  if (config.admin !== null) await gateway.admin?.listen({ ...config.admin.listen })
  t.teardown(async () => {
    gateway.cut()
    await gateway.close()
    if (options.idp !== idp) await idp.close()
    if (options.upstream === undefined) await upstream.close()
  })
  const verdicts = gateway.forwardAuth?.address()
  return {
    url,
    verdicts: typeof verdicts === 'object' && verdicts !== null ? `http://127.0.0.1:${verdicts.port}` : '',
    gateway,
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- tests with `providers` do not read `provider`
    config: config as Running['config'],
    idp,
    upstream,
    log,
    events: (name) =>
      log.map((line): Record<string, unknown> => JSON.parse(line)).filter(({ event }) => event === name),
  }
}

/** Writes a configuration to a file, which is removed when the test ends. */
export const asFile = (t: Test, settings: Settings): string => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  const file = join(folder, 'gatehouse.yaml')
  writeFileSync(file, stringify(settings))
  return file
}

const merged = (base: Settings, over: Settings): Settings =>
  Object.fromEntries(
    [...new Set([...Object.keys(base), ...Object.keys(over)])].map((key) => {
      const [before, after] = [base[key], over[key]]
      return [key, isSection(before) && isSection(after) ? merged(before, after) : key in over ? after : before]
    }),
  )

const isSection = (value: unknown): value is Settings =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
