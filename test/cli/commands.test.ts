import { readFileSync } from 'node:fs'
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
    [['--config'], /--config needs a value$/m],
    [['statr'], /there is no command "statr"; did you mean start\?/],
    [['verison'], /did you mean version\?/],
    [['--verzion'], /did you mean --version\?/],
    [['gatehouse.yaml'], /did you mean gatehouse start --config gatehouse\.yaml\?/],
    [['--config', 'a.yaml', 'check'], /the command comes first: gatehouse check --config a\.yaml/],
    [['--confg', 'a.yaml'], /there is no option --confg; did you mean --config\?/],
    [['check', '-c', 'a.yaml'], /there is no option -c; the options are --/],
    [['keygen', '--size=64'], /there is no option --size; this command has no options/],
    [['start', 'gatehouse.yaml'], /"gatehouse\.yaml" is not expected; did you mean --config gatehouse\.yaml\?/],
    [['explain', 'GET', '/', '-H', '-x'], /-H needs a value; if -x is the value, write --header=-x/],
    [['health', '--ready=yes'], /--ready takes no value/],
    [['demo', '33000'], /did you mean --port 33000\?/],
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

void t.test('a port that npm has separated from its option is named with the command for npm', async (t) => {
  const kept = [
    runProgram(t, ['demo', '33000'], { npm_lifecycle_event: 'demo', npm_config_port: 'true' }),
    runProgram(t, ['demo'], { npm_lifecycle_event: 'demo', npm_config_port: '33000' }),
  ]
  const { stderr: ofNpx } = await runProgram(t, ['demo', '33000'], { npm_lifecycle_event: 'npx' })
  t.match(ofNpx, 'did you mean --port 33000?')
  for (const { status, stderr } of await Promise.all(kept)) {
    t.equal(status, 1)
    t.match(stderr, 'did you mean npm run demo -- --port 33000?')
  }
})

void t.test('--version prints the version of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  for (const word of ['--version', '-v', 'version'])
    t.same(await runProgram(t, [word]), { status: 0, signal: null, stdout: `gatehouse ${version}\n`, stderr: '' })
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
