import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { buildApp } from '../app.ts'
import { loadConfig } from '../config/load.ts'
import { startIdp } from '../demo/idp.ts'
import { startUpstream } from '../demo/upstream.ts'
import { openLog } from '../telemetry/log.ts'
import { UsageError, readArguments, withNpm, type Command } from './command.ts'
import { requireExample, runMcpClient, startMcpServer } from './mcp-example.ts'

const DEFAULT_PORT = '8080'
const SIGN_IN = 'sign in as alice, bob, carol or zoe: one click, no password'

interface DemoOptions {
  readonly port: number
  readonly verbose: boolean
  readonly mcp: boolean
}

/** Functions that stop what has started, in the order in which it started. */
type Running = (() => Promise<void>)[]

export const demo: Command = {
  help: `gatehouse demo [--mcp] [--port N] [--verbose]

Starts an OpenID provider with four users, a sample application and a gateway in front of it, in one process and on
loopback. Open the URL that the command prints and choose a user. Sessions end after a few minutes. Ctrl-C stops
the demo.
  --mcp         start an MCP server instead of the application, and a client that logs in and calls its tools: the
                programs in examples/mcp, which need a checkout of Gatehouse
  --port N      the port of the gateway (default ${DEFAULT_PORT}); the provider uses the next port
  --verbose     print the log of the gateway
`,
  async run(args) {
    const { values } = readArguments({
      args: [...args],
      strict: true,
      options: {
        mcp: { type: 'boolean', default: false },
        port: { type: 'string', default: DEFAULT_PORT },
        verbose: { type: 'boolean', default: false },
      },
    })
    const { npm_lifecycle_event: script, npm_config_port: kept = '' } = process.env
    if (script === 'demo' && /^\d+$/.test(kept) && values.port === DEFAULT_PORT)
      throw new UsageError(`npm has kept --port=${kept} to itself; did you mean ${withNpm(`--port ${kept}`)}?`)
    const port = Number(values.port)
    if (!Number.isInteger(port) || port < 1 || port > 65_534)
      throw new UsageError(`--port must be a number from 1 to 65534, not "${values.port}"`)
    if (values.mcp) requireExample()
    const running: Running = []
    const stopped = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM')])
    try {
      const url = await startAll({ ...values, port }, running)
      const shown = values.mcp ? showMcp(`${url}/mcp`, running) : showApplication(url)
      await Promise.race([stopped, shown.then(async () => stopped)])
    } catch (error) {
      const isPortTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
      throw isPortTaken
        ? new UsageError(`port ${port} or ${port + 1} is taken; choose another one with ${withNpm('--port N')}`)
        : error
    } finally {
      for (const stop of running.toReversed()) await stop()
    }
    return 0
  },
}

async function showApplication(url: string): Promise<void> {
  process.stdout.write(`Open ${url} and ${SIGN_IN}. Ctrl-C stops the demo.\n`)
}

async function showMcp(serverUrl: string, running: Running): Promise<void> {
  process.stdout.write(`Users ${SIGN_IN}. Ctrl-C stops the demo.\n\n`)
  if (!(await runMcpClient(serverUrl, running))) return
  process.stdout.write(`Other MCP clients can connect to ${serverUrl} until Ctrl-C stops the demo.\n`)
}

/** Starts the three servers. Adds a function that stops each one to `running`, even if a later one fails to start. */
async function startAll({ port, verbose, mcp }: DemoOptions, running: Running): Promise<string> {
  const url = `http://localhost:${port}`
  const secret = randomBytes(16).toString('hex')
  const upstream = mcp ? await startMcpServer(running) : await startApplication(running)
  const idp = await startIdp({
    port: port + 1,
    // The same host as the gateway's, so that browsers send the provider's cookies in frames and sessions renew silently.
    hostname: 'localhost',
    lifetimes: { accessToken: 60 },
    selfRegistration: mcp,
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
    file: fileURLToPath(import.meta.resolve(mcp ? '#examples/mcp/gatehouse.yaml' : '#config/demo.yaml')),
    env: {
      PORT: String(port),
      PUBLIC_URL: url,
      UPSTREAM: upstream,
      ISSUER: idp.issuer,
      CLIENT_ID: 'demo',
      CLIENT_SECRET: secret,
      SESSION_KEY: randomBytes(32).toString('base64'),
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

async function startApplication(running: Running): Promise<string> {
  const { url, close } = await startUpstream()
  running.push(close)
  return url
}
