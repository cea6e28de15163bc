import t from 'tap'
import { runProgram } from '../support/program.ts'

const commands = ['start', 'check', 'explain', 'health', 'keygen', 'demo']

void t.test('--help lists every command and the exit statuses', async (t) => {
  for (const word of ['--help', '-h', 'help']) {
    const { status, stdout, stderr } = await runProgram(t, [word])
    t.equal(status, 0)
    t.equal(stderr, '')
    for (const command of commands) t.match(stdout, new RegExp(`^ {2}gatehouse ${command} `, 'm'))
    t.match(stdout, 'Status: 0 after a clean stop')
  }
})

void t.test('--help describes each command without running it', async (t) => {
  await Promise.all(
    commands
      .flatMap((command) => [
        [command, '--help'],
        [command, '-h'],
      ])
      .map(async (args) => {
        const { status, stdout, stderr } = await runProgram(t, args)
        t.same([status, stderr], [0, ''], args.join(' '))
        t.match(stdout, new RegExp(`^gatehouse ${args[0] ?? ''} ?.*\n\n[A-Z]`))
        t.notOk(
          stdout.split('\n').some((line) => line.length > 130),
          'in lines that fit a terminal',
        )
      }),
  )
})

void t.test('an unknown command, option or argument is named in one line on stderr, with status 1', async (t) => {
  const table: [string[], RegExp][] = [
    [['serve'], /there is no command "serve"; gatehouse --help lists them/],
    [['check', '--verbose'], /--verbose/],
    [['start', 'gatehouse.yaml'], /gatehouse\.yaml/],
    [['keygen', 'more'], /more/],
    [['explain', 'GET'], /METHOD and URL/],
    [['explain', 'GET', '/', '/b'], /METHOD and URL/],
    [['demo', '--port', 'eighty'], /--port must be a number from 1 to 65534, not "eighty"/],
    [['--config'], /--config/],
  ]
  await Promise.all(
    table.map(async ([args, message]) => {
      const { status, stdout, stderr } = await runProgram(t, args)
      t.same([status, stdout], [1, ''], args.join(' '))
      t.match(stderr, message)
      t.match(stderr, /^gatehouse: .+\n$/)
    }),
  )
})

void t.test('keygen prints a new key of 32 bytes in base64 each time', async (t) => {
  const [one, two] = await Promise.all([runProgram(t, ['keygen']), runProgram(t, ['keygen'])])
  for (const { status, stdout, stderr } of [one, two]) {
    t.same([status, stderr], [0, ''])
    t.match(stdout, /^[A-Za-z0-9+/]{43}=\n$/)
    t.equal(Buffer.from(stdout, 'base64').length, 32)
  }
  t.not(one.stdout, two.stdout)
})
