import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { startIdp } from '../demo/idp.ts'
import { startUpstream } from '../demo/upstream.ts'
import { openLog } from '../telemetry/log.ts'
import { UsageError, readArguments, type Command } from './command.ts'

const DEFAULT_PORT = '8080'
const CONFIGURATION = fileURLToPath(import.meta.resolve('#config/demo.yaml'))

interface DemoOptions {
  readonly port: number
  readonly verbose: boolean
}

export const demo: Command = {
  help: `gatehouse demo [--port N] [--verbose]

Starts an OpenID provider with four users, a sample application and a gateway in front of it, in one process and on
loopback. Open the URL that the command prints and choose a user. Sessions end after a few minutes. Ctrl-C stops
the demo.
  --port N      the port of the gateway (default ${DEFAULT_PORT}); the provider uses the next port
  --verbose     print the log of the gateway
`,
  async run(args) {
    const { values } = readArguments({
      args: [...args],
      strict: true,
      options: { port: { type: 'string', default: DEFAULT_PORT }, verbose: { type: 'boolean', default: false } },
    })
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 1 || port > 65_534)
      throw new UsageError(`--port must be a number from 1 to 65534, not "${values.port}"`)
    const running: (() => Promise<void>)[] = []
    try {
      const url = await startAll({ port, verbose: values.verbose }, running)
      process.stdout.write(
        `Open ${url} and sign in as alice, bob, carol or zoe: one click, no password. Ctrl-C stops the demo.\n`,
      )
      await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
    } catch (error) {
      const isPortTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
      throw isPortTaken
        ? new UsageError(`port ${port} or ${port + 1} is taken; choose another one with --port N`)
        : error
    } finally {
      for (const stop of running.toReversed()) await stop()
    }
    return 0
  },
}

/** Starts the three servers. Adds a function that stops each one to `running`, even if a later one fails to start. */
async function startAll({ port, verbose }: DemoOptions, running: (() => Promise<void>)[]): Promise<string> {
  const url = `http://localhost:${port}`
  const secret = randomBytes(16).toString('hex')
  const upstream = await startUpstream()
  running.push(upstream.close)
  const idp = await startIdp({
    port: port + 1,
    // The same host as the gateway's, so that browsers send the provider's cookies in frames and sessions renew silently.
    hostname: 'localhost',
    lifetimes: { accessToken: 60 },
    clients: [
      {
        clientId: 'demo',
        clientSecret: secret,
        redirectUris: [`${url}/oauth2/callback`],
        postLogoutRedirectUris: [`${url}/oauth2/logout/callback`],
      },
    ],
  })
  running.push(idp.close)
  const { config } = loadConfig({
    file: CONFIGURATION,
    env: {
      DEMO_PORT: String(port),
      DEMO_UPSTREAM: upstream.url,
      DEMO_ISSUER: idp.issuer,
      DEMO_SECRET: secret,
      DEMO_KEY: randomBytes(32).toString('base64'),
    },
  })
  const sink = openLog(verbose ? config.log.level : 'error')
  const gateway = await buildApp(config, sink.log)
  running.push(async () => {
    gateway.cut()
    await gateway.close()
    await sink.flush()
  })
  await gateway.listener.listen({ host: '127.0.0.1', port })
  return url
}
