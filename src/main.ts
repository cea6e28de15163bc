#!/usr/bin/env node
import module from 'node:module'
import { fileURLToPath } from 'node:url'
import { UsageError, type Command } from './cli/command.ts'
import { ConfigurationError, formatProblems } from './config/problems.ts'
import { causes } from './errors.ts'

// Commands are loaded on use, because `keygen` and `check` need neither a server nor a provider.
const commands = new Map<string, () => Promise<Command>>([
  ['start', async () => (await import('./cli/start.ts')).start],
  ['check', async () => (await import('./cli/check.ts')).check],
  ['explain', async () => (await import('./cli/explain.ts')).explain],
  ['migrate', async () => (await import('./cli/migrate.ts')).migrate],
  ['health', async () => (await import('./cli/health.ts')).health],
  ['keygen', async () => (await import('./cli/keygen.ts')).keygen],
  ['demo', async () => (await import('./cli/demo.ts')).demo],
])

const HELP = `gatehouse: login, sessions and tokens in front of any application

  gatehouse start   [--config FILE]    run the gateway (the default command)
  gatehouse check   [--config FILE] [--online]
                                       validate the configuration; print it resolved, with the URLs to register and the
                                       route table; with --online, ask provider, store and upstreams
  gatehouse explain [--config FILE] METHOD URL [-H 'Name: value'] [--claims JSON]
                                       explain how the gateway would answer a request
  gatehouse migrate FILE               translate the configuration of oauth2-proxy, mod_auth_openidc or Wonderwall
  gatehouse health  [--config FILE]    check the gateway that runs on this machine
  gatehouse keygen                     print a new session key
  gatehouse demo                       run a provider, a sample application and a gateway in one process

See gatehouse COMMAND --help for the details of a command.
Status: 0 after a clean stop, 2 for an invalid configuration, 1 for any other error.
`

const COMPILE_CACHE = 'compiled'

/**
 * Keeps compiled code next to the built program for the next start, on Node.js 22.8 and later. A temporary folder is
 * unsafe: other users could put code there, which would then run.
 */
function enableCompileCache(): void {
  if (import.meta.url.endsWith('.ts')) return
  module.enableCompileCache?.(fileURLToPath(import.meta.resolve(`#built/${COMPILE_CACHE}`)))
}

async function main(argv: readonly string[]): Promise<number> {
  const [first = 'start', ...rest] = argv
  if (first === 'help' || first === '--help' || first === '-h') {
    process.stdout.write(HELP)
    return 0
  }
  // `gatehouse --config FILE` means `gatehouse start --config FILE`.
  const [name, args] = first.startsWith('-') ? (['start', argv] as const) : ([first, rest] as const)
  const load = commands.get(name)
  if (load === undefined) throw new UsageError(`there is no command "${name}"; gatehouse --help lists them`)
  const command = await load()
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help)
    return 0
  }
  return command.run(args)
}

enableCompileCache()
try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof ConfigurationError) {
    process.stderr.write(`${formatProblems(error.problems).trimEnd()}\n`)
    process.exitCode = 2
  } else {
    process.stderr.write(`gatehouse: ${causes(error)}\n`)
    process.exitCode = 1
  }
}
