import { parseArgs } from 'node:util'
import { CONTESTANTS, type ContestantName } from './contestants.ts'

/** The options of the command line. `seconds` is the length of one measurement. */
export interface Options {
  readonly help: boolean
  readonly seconds: number
  readonly rounds: number
  readonly starts: number
  readonly only: readonly ContestantName[]
  readonly markdown: boolean
  readonly start: boolean
  readonly check: boolean
  readonly websocket: boolean
  readonly http2: boolean
  readonly memory: boolean
  readonly node: string
}

export const HELP = `Compares Gatehouse with nginx, Apache with mod_auth_openidc and @fastify/http-proxy, and its Redis store with its memory
store.

npm run build && npm run bench [-- OPTIONS]

  --seconds N     length of one measurement (default 5)
  --rounds N      number of rounds; in each round, all contestants take turns (default 3)
  --only A,B      measure only these contestants: ${CONTESTANTS.join(', ')}
                  (default: all without Redis; with --check, all)
  --quick         1 second and 2 rounds: about four minutes, for a first look
  --markdown      print the tables as docs/performance.md contains them
  --start         measure only the start time, of the bundle and of the same source compiled file by file
                  (20 starts each; 5 with --quick)
  --check         exit with status 1 if a promise is broken
  --websocket     measure WebSockets through nginx and Gatehouse: messages per second and memory per open socket
  --http2         measure HTTP/2 from clients against HTTP/1.1, gRPC against nginx, and the memory per idle connection
  --memory        measure only the memory of a session in Redis and in the gateway
  --node PATH     the Node.js that runs Gatehouse and http-proxy (default: the one that runs the benchmark)
  --help          print this text

The gateway under test has one core to itself. The load and the upstream share another. Progress goes to stderr, results
go to stdout. Run nothing else on the machine. The benchmark needs the Debian packages nginx, apache2,
libapache2-mod-auth-openidc and wrk. Contestants with Redis also need redis-server, --http2
needs nghttp2-client, and gatehouse-million needs 8 GB of
memory, because its Redis holds a million other sessions.
`

/** Parses the command line. Throws an error with a remedy. */
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
      http2: { type: 'boolean', default: false },
      memory: { type: 'boolean', default: false },
      node: { type: 'string', default: process.execPath },
    },
  })
  const defaults = values.check ? CONTESTANTS : CONTESTANTS.filter((name) => !name.startsWith('gatehouse-'))
  const only = values.only === undefined ? defaults : values.only.split(',').map(contestantName)
  if (values.check && only.length < CONTESTANTS.length) {
    throw new Error('--check compares all contestants and cannot be combined with --only')
  }
  if (values.http2 && values.only !== undefined) throw new Error('--http2 cannot be combined with --only')
  if (values.websocket && (values.check || values.only !== undefined)) {
    throw new Error('--websocket cannot be combined with --check or --only')
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
    http2: values.http2,
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
  if (!name) throw new Error(`--only must list names from ${CONTESTANTS.join(', ')}, not "${text.trim()}"`)
  return name
}
