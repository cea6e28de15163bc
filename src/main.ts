#!/usr/bin/env node
import module from 'node:module'
import { fileURLToPath } from 'node:url'
import { UsageError, type Command } from './cli/command.ts'
import { ConfigurationError, formatProblems } from './config/problems.ts'
import { suggest } from './config/suggest.ts'
import { causes } from './errors.ts'
import { VERSION } from './version.ts'

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
  gatehouse --version                  print the version

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
  if (first === 'version' || first === '--version' || first === '-v' || first === '-V') return printVersion()
  // `gatehouse --config FILE` means `gatehouse start --config FILE`.
  const isImplicit = first.startsWith('-')
  const [name, args] = isImplicit ? (['start', argv] as const) : ([first, rest] as const)
  const load = commands.get(name)
  if (load === undefined) throw unknownCommand(name)
  const command = await load()
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help)
    return 0
  }
  if (args.includes('--version')) return printVersion()
  try {
    return await command.run(args)
  } catch (error) {
    const named = isImplicit ? rest.find((arg) => commands.has(arg)) : undefined
    if (named === undefined || !(error instanceof UsageError)) throw error
    const options = argv.toSpliced(argv.indexOf(named), 1)
    throw new UsageError(`the command comes first: gatehouse ${[named, ...options].join(' ')}`)
  }
}

function printVersion(): number {
  process.stdout.write(`gatehouse ${VERSION}\n`)
  return 0
}

function unknownCommand(name: string): UsageError {
  const near = suggest(name, [...commands.keys(), 'help', 'version'])
  const advice = /\.ya?ml$/.test(name)
    ? `did you mean gatehouse start --config ${name}?`
    : near === null
      ? 'gatehouse --help lists them'
      : `did you mean ${near}?`
  return new UsageError(`there is no command "${name}"; ${advice}`)
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
