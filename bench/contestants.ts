import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { checkFile, findProgram } from './machine.ts'
import type { Command } from './processes.ts'

export const CONTESTANTS = [
  'nginx',
  'apache',
  'http-proxy',
  'gatehouse',
  'gatehouse-redis',
  'gatehouse-million',
] as const

export type ContestantName = (typeof CONTESTANTS)[number]

export interface Contestant {
  readonly name: string
  readonly port: number
  readonly command: Command
  readonly client: OidcClient | null
}

interface OidcClient {
  readonly clientId: string
  readonly clientSecret: string
  readonly redirectUri: string
}

/**
 * What all contestants of one run share. `directory` is a temporary one for configurations and error logs, `node` is the
 * Node.js that runs the contestants, and `stores` has the URLs of the contestants' Redis servers.
 */
export interface RunSetup {
  readonly directory: string
  readonly core: number
  readonly upstreamPort: number
  readonly issuer: string
  readonly node: string
  readonly stores: ReadonlyMap<ContestantName, string>
}

const APACHE_MODULES = '/usr/lib/apache2/modules'
const GATEHOUSE = fileURLToPath(new URL('../dist/main.js', import.meta.url))

/** Throws an error that says what to install or build if these contestants or the load generator cannot run. */
export function checkInstalled(names: readonly ContestantName[]): void {
  findProgram('wrk', 'wrk')
  findProgram('taskset', 'util-linux')
  findProgram('nginx', 'nginx')
  if (names.includes('apache')) {
    findProgram('apache2', 'apache2')
    checkFile(join(APACHE_MODULES, 'mod_auth_openidc.so'), 'libapache2-mod-auth-openidc')
  }
  if (names.some((name) => name.startsWith('gatehouse-'))) findProgram('redis-server', 'redis-server')
  if (names.some((name) => name.startsWith('gatehouse'))) {
    try {
      readFileSync(GATEHOUSE)
    } catch {
      throw new Error('dist/main.js is missing: run npm run build')
    }
  }
}

export function upstreamCommand(directory: string, core: number, port: number, body: string): Command {
  const file = render(directory, 'upstream.conf', { dir: directory, port: String(port), body })
  return nginxCommand('upstream', directory, core, file)
}

export function nginxWebSocketCommand(port: number, { directory, core, upstreamPort }: RunSetup): Command {
  const values = { dir: directory, port: String(port), upstreamPort: String(upstreamPort) }
  return nginxCommand('nginx-websocket', directory, core, render(directory, 'nginx-websocket.conf', values))
}

/** The application that answers gRPC calls of one method. */
export function upstreamGrpcCommand(
  port: number,
  method: string,
  { directory, core }: Pick<RunSetup, 'directory' | 'core'>,
): Command {
  return {
    name: 'the gRPC application',
    core,
    program: process.execPath,
    args: ['--import=tsx', fileURLToPath(new URL('grpc-upstream.ts', import.meta.url))],
    env: { PORT: String(port), SERVICE_METHOD: method },
    errorFile: join(directory, 'grpc-upstream.log'),
  }
}

export function nginxGrpcCommand(port: number, { directory, core, upstreamPort }: RunSetup): Command {
  const values = { dir: directory, port: String(port), upstreamPort: String(upstreamPort) }
  return nginxCommand('nginx-grpc', directory, core, render(directory, 'nginx-grpc.conf', values))
}

/** Creates a gateway with HTTP/2 for clients, and with this protocol to the upstream. */
export function createHttp2Gateway(name: string, protocol: 'http1' | 'h2c', port: number, setup: RunSetup): Contestant {
  return { name, port, ...gatehouse(name, port, setup, 'gatehouse-http2.yaml', { protocol }) }
}

/** Creates a contestant and writes its configuration to the temporary directory. */
export function createContestant(name: ContestantName, port: number, setup: RunSetup): Contestant {
  return { name, port, ...PREPARATIONS[name](port, setup) }
}

type Preparation = (port: number, setup: RunSetup) => Pick<Contestant, 'command' | 'client'>

const PREPARATIONS: Record<ContestantName, Preparation> = {
  'nginx': (port, { directory, core, upstreamPort }) => {
    const values = { dir: directory, port: String(port), upstreamPort: String(upstreamPort) }
    return { client: null, command: nginxCommand('nginx', directory, core, render(directory, 'nginx.conf', values)) }
  },

  'apache': (port, { directory, core, upstreamPort, issuer }) => {
    const client = newClient('apache', `http://127.0.0.1:${port}/oidc/callback`)
    const file = render(directory, 'apache.conf', {
      ...client,
      dir: directory,
      modules: APACHE_MODULES,
      port: String(port),
      upstreamPort: String(upstreamPort),
      issuer,
      secret: randomBytes(32).toString('hex'),
    })
    const program = findProgram('apache2', 'apache2')
    const errorFile = join(directory, 'apache.log')
    const args = ['-f', file, '-D', 'FOREGROUND', '-E', errorFile]
    // Apache creates the files of its mutexes in TMPDIR.
    return { client, command: { name: 'apache', core, program, args, env: { TMPDIR: directory }, errorFile } }
  },

  'http-proxy': (port, { directory, core, upstreamPort, node }) => {
    const program = fileURLToPath(new URL('peers/http-proxy.js', import.meta.url))
    const env = { PORT: String(port), UPSTREAM: `http://127.0.0.1:${upstreamPort}` }
    return { client: null, command: nodeCommand('http-proxy', node, directory, core, [program], env) }
  },

  'gatehouse': (port, setup) => gatehouse('gatehouse', port, setup),
  'gatehouse-redis': (port, setup) => gatehouseWithRedis('gatehouse-redis', port, setup),
  'gatehouse-million': (port, setup) => gatehouseWithRedis('gatehouse-million', port, setup),
}

function gatehouse(
  name: string,
  port: number,
  setup: RunSetup,
  template = 'gatehouse.yaml',
  more: Record<string, string> = { store: 'memory:' },
): ReturnType<Preparation> {
  const { directory, core, upstreamPort, issuer, node } = setup
  const client = newClient(name, `http://127.0.0.1:${port}/oauth2/callback`)
  const values = {
    ...client,
    port: String(port),
    upstreamPort: String(upstreamPort),
    issuer,
    sessionKey: randomBytes(32).toString('base64'),
    ...more,
  }
  const file = render(directory, template, values, `${name}.yaml`)
  return { client, command: nodeCommand(name, node, directory, core, [GATEHOUSE, 'start', '--config', file], {}) }
}

function gatehouseWithRedis(name: ContestantName, port: number, setup: RunSetup): ReturnType<Preparation> {
  return gatehouse(name, port, setup, 'gatehouse.yaml', { store: setup.stores.get(name) ?? 'memory:' })
}

function nodeCommand(
  name: string,
  node: string,
  directory: string,
  core: number,
  args: string[],
  env: Record<string, string>,
): Command {
  const errorFile = join(directory, `${name}.log`)
  return { name, core, program: node, args, env: { ...env, NODE_ENV: 'production' }, errorFile }
}

function nginxCommand(name: string, directory: string, core: number, file: string): Command {
  const args = ['-e', 'stderr', '-p', directory, '-c', file]
  return { name, core, program: findProgram('nginx', 'nginx'), args, errorFile: join(directory, `${name}.log`) }
}

function newClient(clientId: string, redirectUri: string): OidcClient {
  return { clientId, clientSecret: randomBytes(24).toString('hex'), redirectUri }
}

function render(directory: string, template: string, values: Record<string, string>, name = template): string {
  const text = readFileSync(new URL(`peers/${template}`, import.meta.url), 'utf8')
  const file = join(directory, name)
  writeFileSync(
    file,
    text.replaceAll(/@(\w+)@/g, (_, key: string) => {
      const value = values[key]
      if (value === undefined) throw new Error(`bench/peers/${template} contains @${key}@, which has no value`)
      return value
    }),
    { mode: 0o600 },
  )
  return file
}
