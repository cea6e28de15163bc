import { parseArgs } from 'node:util'
import { CONTESTANTS, type ContestantName } from './contestants.ts'

/** What the command line asks for; `seconds` is the length of one measurement. */
export type Options = {
  help: boolean
  seconds: number
  rounds: number
  starts: number
  only: readonly ContestantName[]
  markdown: boolean
  start: boolean
  check: boolean
  websocket: boolean
  memory: boolean
  /** The Node.js that runs the gateways and http-proxy. */
  node: string
}

/** The text of `--help`. */
export const HELP = `Measures Gatehouse beside nginx, Apache with mod_auth_openidc and @fastify/http-proxy, and with
Redis beside itself.

npm run build && npm run bench [-- OPTIONS]

  --seconds N     length of one measurement (default 5)
  --rounds N      how often all contestants take turns (default 3)
  --only A,B      only these of: ${CONTESTANTS.join(', ')}
                  (without it the two with Redis take part in a --check alone)
  --quick         1 second, 2 rounds: about four minutes, for a first look
  --markdown      print the section for docs/performance.md instead of plain tables
  --start         only how long a start takes, beside the same program unbundled (20 starts each; with --quick 5)
  --check         exit with 1 when a promise is broken
  --websocket     measure WebSockets instead, through nginx and Gatehouse: messages per second, memory per open socket
  --memory        only say what a session takes in Redis and in the gateway
  --node PATH     run Gatehouse and http-proxy with this Node.js (default: the one that runs the benchmark)
  --help          this text

The gateway under test has one core for itself; the load and the upstream share another. Progress goes to stderr,
the result to stdout. Keep the machine quiet meanwhile. It takes Debian's packages nginx, apache2,
libapache2-mod-auth-openidc and wrk, redis-server where Redis takes part, and 8 GB of memory for gatehouse-million:
that one has a million other sessions in its Redis.
`

/** Reads the command line; throws an Error that says what to write instead. */
export function readOptions(argv: string[]): Options {
  const { values } = parseArgs({
    args: argv,
    options: {
      help: { type: 'boolean', default: false },
      seconds: { type: 'string' },
      rounds: { type: 'string' },
      only: { type: 'string' },
      quick: { type: 'boolean', default: false },
      markdown: { type: 'boolean', default: false },
      start: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      websocket: { type: 'boolean', default: false },
      memory: { type: 'boolean', default: false },
      node: { type: 'string', default: process.execPath },
    },
  })
  const usual = values.check ? CONTESTANTS : CONTESTANTS.filter((name) => !name.startsWith('gatehouse-'))
  const only = values.only === undefined ? usual : values.only.split(',').map(contestantName)
  if (values.check && only.length < CONTESTANTS.length) {
    throw new Error('--check compares all contestants: leave --only out')
  }
  if (values.websocket && (values.check || values.only !== undefined)) {
    throw new Error('--websocket goes with neither --check nor --only')
  }
  return {
    help: values.help,
    seconds: wholeNumber('--seconds', values.seconds ?? (values.quick ? '1' : '5')),
    rounds: wholeNumber('--rounds', values.rounds ?? (values.quick ? '2' : '3')),
    starts: values.start ? (values.quick ? 5 : 20) : values.quick ? 3 : 5,
    only,
    markdown: values.markdown,
    start: values.start,
    check: values.check,
    websocket: values.websocket,
    memory: values.memory,
    node: values.node,
  }
}

function wholeNumber(option: string, text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new Error(`${option} must be a whole number from 1 to 9999, not "${text}"`)
  return Number(text)
}

function contestantName(text: string): ContestantName {
  const name = CONTESTANTS.find((known) => known === text.trim())
  if (!name) throw new Error(`--only takes names out of ${CONTESTANTS.join(', ')}, not "${text.trim()}"`)
  return name
}
