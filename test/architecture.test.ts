import { readFileSync, readdirSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'

/**
 * From left to right: a file imports only from its own room or from one further right. Rooms in one list do not know
 * each other.
 */
const order = [
  ['main'],
  ['cli'],
  ['app', 'demo', 'migrate'],
  ['http'],
  ['gate'],
  ['token'],
  ['session'],
  ['oidc', 'store'],
  ['config', 'telemetry'],
  ['bytes', 'errors', 'header-names', 'resilience', 'version'],
  ['texts'],
]

/** Who may know what lies outside the project, by the beginning of the package's name. */
const outsiders: [name: string, mayKnow: (file: string) => boolean][] = [
  ['fastify', (file) => ['http', 'demo', 'app'].includes(roomOf(file))],
  ['@fastify/', (file) => ['http', 'demo', 'app'].includes(roomOf(file))],
  ['openid-client', (file) => roomOf(file) === 'oidc'],
  ['jose', (file) => ['oidc', 'demo'].includes(roomOf(file))],
  ['keyv', (file) => roomOf(file) === 'store'],
  ['@opentelemetry/', (file) => file === 'telemetry/open-telemetry.ts'],
  // The main file of prom-client also loads OpenTelemetry's API.
  ['prom-client', (file) => roomOf(file) === 'telemetry'],
  ['@keyv/', (file) => roomOf(file) === 'store'],
  ['oidc-provider', (file) => roomOf(file) === 'demo'],
  ['node:fs', mayTouchTheSystem],
  ['node:process', mayTouchTheSystem],
]

interface Source {
  readonly file: string
  readonly text: string
}
interface Import {
  readonly file: string
  readonly target: string
}

const root = fileURLToPath(new URL('../src/', import.meta.url))
const sources = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts'))
  .map((name): Source => ({ file: name.replaceAll('\\', '/'), text: readFileSync(join(root, name), 'utf8') }))
const imports = sources.flatMap(importsOf)

t.ok(imports.length > 300, 'the imports of the whole source are looked at')

void t.test('a file imports only from its own room or from one further right', async (t) => {
  t.same(imports.filter(isInside).flatMap(trespass), [])
})

void t.test('the demo imports nothing from the gateway, and the browser scripts import only each other', async (t) => {
  t.same(
    imports.filter(
      ({ file, target }) => roomOf(file) === 'demo' && isInside({ file, target }) && roomOf(target) !== 'demo',
    ),
    [],
  )
  t.same(
    imports.filter(({ file, target }) => roomOf(file) === 'browser' && roomOf(target) !== 'browser'),
    [],
  )
  t.same(
    imports.filter(
      ({ file, target }) => roomOf(file) !== 'browser' && isInside({ file, target }) && roomOf(target) === 'browser',
    ),
    [],
    'no other room imports the browser scripts',
  )
})

void t.test('no import forms a circle', async (t) => {
  t.same(
    circles(new Map(sources.map(({ file }) => [file, imports.filter((one) => one.file === file).map(targetOf)]))),
    [],
  )
  t.same(
    circles(
      new Map([
        ['a', ['b']],
        ['b', ['c', 'd']],
        ['c', ['a']],
        ['d', []],
      ]),
    ),
    [['a', 'b', 'c']],
    'a circle is detected',
  )
})

void t.test('each package is imported only in the rooms that own it', async (t) => {
  t.same(imports.flatMap(unwelcome), [])
})

void t.test('only the loader of the configuration and the commands read the environment', async (t) => {
  const readers = sources
    .filter(({ text }) => /\bprocess\s*(?:\.\s*env|\[\s*['"]env)|\benv\s*\}\s*=\s*process\b/.test(text))
    .map(({ file }) => file)
  t.same(
    readers.filter((file) => !mayTouchTheSystem(file)),
    [],
  )
})

void t.test('each of these rules detects a violation', async (t) => {
  t.same(
    broken('gate/match.ts', "import type { Context } from '../http/context.ts'"),
    ['gate/match.ts must not know http/context.ts'],
    'type imports count',
  )
  t.same(broken('oidc/login.ts', "import { open } from '../store/open.ts'"), [
    'oidc/login.ts must not know store/open.ts',
  ])
  t.same(broken('demo/idp.ts', "export { buildApp } from '../app.ts'"), ['demo/idp.ts must not know app.ts'])
  t.same(broken('errors.ts', "const later = await import('./main.ts')"), ['errors.ts must not know main.ts'])
  t.same(
    broken('helpers/strings.ts', "import { Fault } from '../errors.ts'"),
    ['helpers/strings.ts must not know errors.ts'],
    'a room that is not in the order',
  )
  t.same(broken('gate/admit.ts', "import Fastify from 'fastify'"), ['gate/admit.ts must not know fastify'])
  t.same(broken('session/record.ts', "import Keyv, {\n  type Store,\n} from 'keyv'"), [
    'session/record.ts must not know keyv',
  ])
  t.same(broken('http/pages.ts', "import { readFileSync } from 'node:fs'"), ['http/pages.ts must not know node:fs'])
  t.same(broken('gate/match.ts', "import { fold } from './readings.ts'\nimport { Fault } from '../errors.ts'"), [])
})

function mayTouchTheSystem(file: string): boolean {
  // The browser scripts are a part of the program that happens to lie beside it. A client assertion rotates by itself.
  // The variables for proxies and certificates are not Gatehouse's own.
  return (
    roomOf(file) === 'cli' ||
    /^config\/load|^http\/endpoints\/browser-scripts\.ts$|^oidc\/(?:client-assertion-file|default-authorities|outgoing-proxy)\.ts$/.test(
      file,
    )
  )
}

/** The folder right under src, or the name of a file that stands there alone. */
function roomOf(file: string): string {
  return (file.split('/')[0] ?? '').replace(/\.ts$/, '')
}

function broken(file: string, text: string): string[] {
  return importsOf({ file, text }).flatMap((one) => (isInside(one) ? trespass(one) : unwelcome(one)))
}

function isInside({ target }: Import): boolean {
  return target.endsWith('.ts')
}

function importsOf({ file, text }: Source): Import[] {
  return [...text.matchAll(/\b(?:from|import)\s*\(?\s*(['"])(.+?)\1/g)].map(([, , name = '']) => ({
    file,
    target: name.startsWith('.') ? posix.join(posix.dirname(file), name) : name,
  }))
}

function targetOf({ target }: Import): string {
  return target
}

/** Each list of files that need each other, every one by way of the next. */
function circles(needs: ReadonlyMap<string, readonly string[]>): string[][] {
  const found: string[][] = []
  const done = new Set<string>()
  const visit = (file: string, way: readonly string[]): void => {
    const at = way.indexOf(file)
    if (at !== -1) found.push(way.slice(at))
    if (at !== -1 || done.has(file)) return
    for (const next of needs.get(file) ?? []) visit(next, [...way, file])
    done.add(file)
  }
  for (const file of needs.keys()) visit(file, [])
  return found
}

function placeOf(room: string): number {
  return order.findIndex((rooms) => rooms.includes(room))
}

function trespass({ file, target }: Import): string[] {
  const [mine, theirs] = [roomOf(file), roomOf(target)]
  const welcome = mine === theirs || (placeOf(mine) !== -1 && placeOf(mine) < placeOf(theirs))
  return welcome ? [] : [`${file} must not know ${target}`]
}

function unwelcome({ file, target }: Import): string[] {
  const rules = outsiders.filter(([name]) =>
    name.endsWith('/') ? target.startsWith(name) : target === name || target.startsWith(`${name}/`),
  )
  return rules.every(([, mayKnow]) => mayKnow(file)) ? [] : [`${file} must not know ${target}`]
}
