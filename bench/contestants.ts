import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expectFile, findProgram } from './machine.ts'
import type { Command } from './processes.ts'

/** Everything that can be measured, in the order of the tables. */
export const CONTESTANTS = [
  'nginx',
  'apache',
  'http-proxy',
  'gatehouse',
  'gatehouse-redis',
  'gatehouse-million',
] as const

/** One of the programs that are compared. */
export type ContestantName = (typeof CONTESTANTS)[number]

/** A program under test: how it is started, where it listens, and what it needs to know about the provider. */
export type Contestant = {
  name: ContestantName
  port: number
  command: Command
  client: OidcClient | null
}

type OidcClient = { clientId: string; clientSecret: string; redirectUri: string }

/**
 * What all contestants of one run share; `directory` is a temporary one for configurations and error logs, `node` is
 * the Node.js that runs them, `stores` has the URLs of those that keep their sessions in Redis.
 */
export type Surroundings = {
  directory: string
  core: number
  upstreamPort: number
  issuer: string
  node: string
  stores: ReadonlyMap<ContestantName, string>
}

const APACHE_MODULES = '/usr/lib/apache2/modules'
const GATEHOUSE = fileURLToPath(new URL('../dist/main.js', import.meta.url))

/** Says in one sentence, as an Error, what must be installed or built before these contestants and the load can run. */
export function expectInstalled(names: readonly ContestantName[]): void {
  findProgram('wrk', 'wrk')
  findProgram('taskset', 'util-linux')
  findProgram('nginx', 'nginx')
  if (names.includes('apache')) {
    findProgram('apache2', 'apache2')
    expectFile(join(APACHE_MODULES, 'mod_auth_openidc.so'), 'libapache2-mod-auth-openidc')
  }
  if (names.some((name) => name.startsWith('gatehouse-'))) findProgram('redis-server', 'redis-server')
  if (names.some((name) => name.startsWith('gatehouse'))) {
    try {
      readFileSync(GATEHOUSE)
    } catch {
      throw new Error('dist/main.js is not there: npm run build')
    }
  }
}

/** The upstream: nginx that answers everything with the same small body, and /echo-auth with what it was sent. */
export function upstream(directory: string, core: number, port: number, body: string): Command {
  const file = render(directory, 'upstream.conf', { dir: directory, port: String(port), body })
  return nginxCommand('upstream', directory, core, file)
}

/** nginx as a plain proxy for WebSockets, ready to start. */
export function nginxForWebSockets(port: number, { directory, core, upstreamPort }: Surroundings): Command {
  const values = { dir: directory, port: String(port), upstreamPort: String(upstreamPort) }
  return nginxCommand('nginx-websocket', directory, core, render(directory, 'nginx-websocket.conf', values))
}

/** A contestant with its configuration written to the temporary directory, ready to start. */
export function contestant(name: ContestantName, port: number, place: Surroundings): Contestant {
  return { name, port, ...PREPARATIONS[name](port, place) }
}

type Preparation = (port: number, place: Surroundings) => Pick<Contestant, 'command' | 'client'>

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
    // Its mutexes are files in the temporary directory.
    return { client, command: { name: 'apache', core, program, args, env: { TMPDIR: directory }, errorFile } }
  },

  'http-proxy': (port, { directory, core, upstreamPort, node }) => {
    const program = fileURLToPath(new URL('peers/http-proxy.js', import.meta.url))
    const env = { PORT: String(port), UPSTREAM: `http://127.0.0.1:${upstreamPort}` }
    return { client: null, command: nodeCommand('http-proxy', node, directory, core, [program], env) }
  },

  'gatehouse': (port, place) => gatehouse('gatehouse', port, place),
  'gatehouse-redis': (port, place) => gatehouse('gatehouse-redis', port, place),
  'gatehouse-million': (port, place) => gatehouse('gatehouse-million', port, place),
}

function gatehouse(name: ContestantName, port: number, place: Surroundings): ReturnType<Preparation> {
  const { directory, core, upstreamPort, issuer, node, stores } = place
  const client = newClient(name, `http://127.0.0.1:${port}/oauth2/callback`)
  const file = render(
    directory,
    'gatehouse.yaml',
    {
      ...client,
      port: String(port),
      upstreamPort: String(upstreamPort),
      issuer,
      sessionKey: randomBytes(32).toString('base64'),
      store: stores.get(name) ?? 'memory:',
    },
    `${name}.yaml`,
  )
  return { client, command: nodeCommand(name, node, directory, core, [GATEHOUSE, 'start', '--config', file], {}) }
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
      if (value === undefined) throw new Error(`bench/peers/${template} asks for @${key}@, which nothing fills in`)
      return value
    }),
    { mode: 0o600 },
  )
  return file
}
