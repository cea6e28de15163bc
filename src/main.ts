#!/usr/bin/env node
import { check } from './cli/check.ts'
import { demo } from './cli/demo.ts'
import { explain } from './cli/explain.ts'
import { keygen } from './cli/keygen.ts'
import { start } from './cli/start.ts'
import { UsageError, type Command } from './cli/command.ts'
import { ConfigurationError, formatProblems } from './config/problems.ts'
import { causes } from './errors.ts'

const commands: Readonly<Record<string, Command>> = { start, check, explain, keygen, demo }

const HELP = `gatehouse: login, sessions and tokens in front of any application

  gatehouse start   [--config FILE]    serve (also without the word "start")
  gatehouse check   [--config FILE]    validate the configuration; print it resolved, with the route table
  gatehouse explain [--config FILE] METHOD URL [-H 'Name: value'] [--claims JSON]
                                       what such a request would get, and why
  gatehouse keygen                     print a new session key
  gatehouse demo                       provider, sample application and gateway in one process

gatehouse COMMAND --help tells more.
Status: 0 after a clean stop, 2 for a configuration that can't be used, 1 for anything else.
`

async function main(argv: readonly string[]): Promise<number> {
  const [first = 'start', ...rest] = argv
  if (first === 'help' || first === '--help' || first === '-h') {
    process.stdout.write(HELP)
    return 0
  }
  // `gatehouse --config FILE` is `gatehouse start --config FILE`.
  const command = first.startsWith('-') ? start : commands[first]
  if (command === undefined) throw new UsageError(`there is no command "${first}"; gatehouse --help lists them`)
  const args = first.startsWith('-') ? argv : rest
  if (args.includes('--help')) {
    process.stdout.write(command.help)
    return 0
  }
  return command.run(args)
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (error instanceof ConfigurationError) {
    process.stderr.write(formatProblems(error.problems))
    process.exitCode = 2
  } else {
    process.stderr.write(`gatehouse: ${causes(error)}\n`)
    process.exitCode = 1
  }
}
