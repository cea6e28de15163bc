import { execFile, spawn } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
import { RUNTIME_PACKAGES } from '../../scripts/runtime-packages.ts'
import { VERSION } from '../../src/version.ts'
import { key, least } from '../config/configuration.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-package-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})

/** The arguments of env for a command without the environment of tap, which loads itself into every Node.js process. */
const alone = (command: string, args: readonly string[], settings: Readonly<Record<string, string>> = {}): string[] => [
  '-i',
  ...['PATH', 'HOME'].map((name) => `${name}=${process.env[name] ?? ''}`),
  ...Object.entries(settings).map(([name, value]) => `${name}=${value}`),
  command,
  ...args,
]

const run = async (cwd: string, command: string, args: readonly string[]): Promise<string> =>
  (await promisify(execFile)('/usr/bin/env', alone(command, args), { cwd })).stdout

// A copy of the checkout, because packing builds the program and changes package.json for a moment.
const checkout = join(folder, 'checkout')
const copied = 'package.json package-lock.json .npmrc tsconfig.json README.md LICENSE CHANGELOG.md config scripts src'
for (const name of copied.split(' ')) cpSync(join(root, name), join(checkout, name), { recursive: true })
symlinkSync(join(root, 'node_modules'), join(checkout, 'node_modules'))
await run(checkout, 'npm', ['pack', '--pack-destination', folder])
const installed = join(folder, 'installed')
mkdirSync(installed)
writeFileSync(join(installed, 'package.json'), '{}')
const tarball = `../gatehouse-${VERSION}.tgz`
await run(installed, 'npm', ['install', '--prefer-offline', '--no-audit', '--omit=optional', tarball])
const inside = (path: string): string => join(installed, 'node_modules/gatehouse', path)

interface Manifest {
  readonly version: string
  readonly dependencies: Readonly<Record<string, string>>
}
const manifestIn = (path: string): Manifest => JSON.parse(readFileSync(path, 'utf8'))

void t.test('the package depends only on what the bundle loads from node_modules, in the tested version', async (t) => {
  const { version, dependencies } = manifestIn(inside('package.json'))
  t.equal(version, VERSION)
  t.same(Object.keys(dependencies), RUNTIME_PACKAGES)
  for (const [name, wanted] of Object.entries(dependencies))
    t.equal(wanted, manifestIn(join(root, 'node_modules', name, 'package.json')).version, name)
  t.notOk(existsSync(join(installed, 'node_modules/fastify')))
})

void t.test('packing leaves package.json as it was', async (t) => {
  t.equal(readFileSync(join(checkout, 'package.json'), 'utf8'), readFileSync(join(root, 'package.json'), 'utf8'))
  t.notOk(existsSync(join(checkout, 'package.json.orig')))
})

void t.test(
  'the package has the program, the configuration and the changelog, and nothing of the sources',
  async (t) => {
    t.same(readdirSync(inside('.')).toSorted(), [
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'config',
      'dist',
      'package.json',
    ])
    t.same(readdirSync(inside('dist')).toSorted(), ['browser', 'chunks', 'main.js'])
  },
)

const program = join(installed, 'node_modules/.bin/gatehouse')

void t.test('the installed program prints its version, checks a configuration and serves', async (t) => {
  t.equal(await run(installed, 'npx', ['--offline', 'gatehouse', '--version']), `gatehouse ${VERSION}\n`)
  writeFileSync(join(installed, 'gatehouse.yaml'), least)
  t.match(await run(installed, program, ['check', '--config', 'gatehouse.yaml']), 'https://orders.example.com')

  const settings = {
    GATEHOUSE_LISTEN: `127.0.0.1:${await freePort()}`,
    GATEHOUSE_ADMIN: 'false',
    GATEHOUSE_SESSION_KEYS: key,
  }
  const started = execFile('/usr/bin/env', alone(program, ['start', '--config', 'gatehouse.yaml'], settings), {
    cwd: installed,
  })
  t.teardown(() => started.kill('SIGKILL'))
  let output = ''
  for await (const text of started.stdout ?? []) {
    output += String(text)
    if (output.includes('"event":"listening"')) started.kill('SIGTERM')
  }
  t.match(output, `"event":"listening","version":"${VERSION}"`)
  t.match(output, '"event":"stopped"')
})

void t.test('the demo says which package it needs if optional packages were omitted', async (t) => {
  const failed = run(installed, program, ['demo', '--port', String(await freePort())])
  await t.rejects(failed, /gatehouse: the demo needs the optional package oidc-provider: run npm install/)
})

void t.test('npm run demo ends with its npm, and leaves no process', async (t) => {
  const port = await freePort()
  const npm = spawn('/usr/bin/env', alone('npm', ['run', 'demo', '--', '--port', String(port)]), {
    cwd: checkout,
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  })
  const group = npm.pid ?? 0
  t.teardown(() => {
    if (isRunning(group)) process.kill(-group, 'SIGKILL')
  })
  for await (const text of npm.stdout) if (String(text).includes(`Open http://localhost:${port}`)) npm.kill('SIGTERM')
  await eventually(async () => !isRunning(group), { what: 'every process of the demo has ended' })
})

/** Whether a process group has processes. */
function isRunning(group: number): boolean {
  try {
    return process.kill(-group, 0)
  } catch {
    return false
  }
}
