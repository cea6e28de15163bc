import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { freePort } from '../support/free-port.ts'
import { eventually } from '../support/eventually.ts'

t.setTimeout(400_000)

/** What an image says of itself. */
type ImageConfig = {
  User: string
  Env: string[]
  Entrypoint: string[]
  Cmd: string[]
  StopSignal: NodeJS.Signals
  Labels: Record<string, string>
  ExposedPorts: Record<string, unknown>
  Healthcheck: { Test: string[] }
}

const script = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const project = script('../..')
const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map(({ parentPath, name }) => join(parentPath, name))

const folder = mkdtempSync(join(tmpdir(), 'gatehouse-image-'))
t.teardown(() => {
  rmSync(folder, { recursive: true, force: true })
})

await promisify(execFile)(script('image.sh'), [folder]).catch((error: { stderr: string }) => {
  throw new Error(`the image can't be built: ${error.stderr.slice(-3000)}`)
})
const {
  Docker: { config: image },
}: { Docker: { config: ImageConfig } } = JSON.parse(readFileSync(join(folder, 'image.json'), 'utf8'))
const root = join(folder, 'root')

const idp = await startIdp()
const upstream = await startUpstream()
t.teardown(async () => {
  await Promise.all([idp.close(), upstream.close()])
})

type Settings = Readonly<Record<string, string>>

const settings = async (): Promise<Settings & { readonly GATEHOUSE_PUBLIC_URL: string }> => {
  const url = `http://127.0.0.1:${await freePort()}`
  const secret = 'only-for-this-test'
  await idp.registerClient({ clientId: url, clientSecret: secret, redirectUris: [`${url}/oauth2/callback`] })
  return {
    GATEHOUSE_LISTEN: new URL(url).host,
    GATEHOUSE_ADMIN_LISTEN: `127.0.0.1:${await freePort()}`,
    GATEHOUSE_PUBLIC_URL: url,
    GATEHOUSE_UPSTREAM: upstream.url,
    GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
    GATEHOUSE_PROVIDER_CLIENT_ID: url,
    GATEHOUSE_PROVIDER_CLIENT_SECRET: secret,
    GATEHOUSE_SESSION_KEYS: Buffer.alloc(32, 3).toString('base64'),
  }
}

/**
 * Runs a command in the image as a container runtime would: its user, its environment, its files and those read-only.
 */
const run = (t: Test, command: readonly string[], env: Settings) => {
  const own = Object.fromEntries(image.Env.map((entry) => entry.split(/=(.*)/s).slice(0, 2)))
  const child = spawn(script('run.sh'), [root, image.User, ...command], {
    env: { ...own, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const ended = once(child, 'close').then(() => child.exitCode)
  return {
    ended,
    said: () => output,
    /** The process itself: the first one in its own numbering. */
    pid: () => Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim().split(' ')[0]),
    async listening() {
      const early = ended.then((status) => {
        throw new Error(`it has ended with ${status}: ${output}`)
      })
      await Promise.race([
        eventually(() => output.includes('"event":"listening"'), { what: 'the container listens', timeoutMs: 30_000 }),
        early,
      ])
      early.catch(() => {})
    },
  }
}

const start = [...image.Entrypoint, ...image.Cmd]
const [asked, ...healthcheck] = image.Healthcheck.Test

void t.test('the image has a numeric user, no shell, SIGTERM, a health check and labels', async (t) => {
  t.equal(image.User, '65532:65532')
  t.same(start, ['node', '/opt/gatehouse/dist/main.js', 'start'])
  t.equal(image.StopSignal, 'SIGTERM')
  t.equal(asked, 'CMD')
  t.same(Object.keys(image.ExposedPorts), ['8080/tcp'])
  const label = (name: string): string => image.Labels[`org.opencontainers.image.${name}`] ?? ''
  for (const name of ['title', 'description', 'licenses', 'version', 'revision']) t.ok(label(name), name)
  for (const name of ['source', 'url']) t.ok(URL.canParse(label(name)), name)
  t.match(label('created'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
})

void t.test('the Dockerfile names its base images by digest', async (t) => {
  const dockerfile = readFileSync(join(project, 'Dockerfile'), 'utf8')
  const images = [...dockerfile.matchAll(/^ARG \w+_IMAGE=(.*)$/gm)].map(([, image]) => image)
  t.equal(images.length, 2)
  for (const image of images) t.match(image, /@sha256:[0-9a-f]{64}$/)
  const stages = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image)
  t.same(new Set(stages), new Set(['${BUILD_IMAGE}', '${RUNTIME_IMAGE}']))
})

void t.test('the image contains the program and the packages that it loads, nothing else', async (t) => {
  t.same(
    new Set(readdirSync(join(root, 'opt/gatehouse'))),
    new Set(['LICENSE', 'dist', 'node_modules', 'package.json']),
  )
  for (const path of ['main.js', 'browser/client.js']) t.ok(existsSync(join(root, 'opt/gatehouse/dist', path)), path)
  t.notOk(existsSync(join(root, 'bin/sh')), 'the image has no shell')

  const packages = join(root, 'opt/gatehouse/node_modules')
  const code = filesIn(packages).filter((path) => /\.(js|node)$/.test(path))
  const printLoaded = `
    const load = require('node:module').createRequire('/opt/gatehouse/dist/main.js')
    load('sodium-native')
    console.log(JSON.stringify(Object.keys(load.cache)))`
  const loading = run(t, ['node', '-e', printLoaded], {})
  t.equal(await loading.ended, 0, loading.said())
  const loaded: string[] = JSON.parse(loading.said())
  t.same(
    new Set(code.map((path) => path.slice(root.length))),
    new Set(loaded.filter((path) => !path.endsWith('.json'))),
  )
})

void t.test('the image is at most 150 MB larger than its base', async (t) => {
  const bytes = filesIn(join(root, 'opt')).reduce((sum, path) => sum + statSync(path).size, 0)
  t.comment(`${(bytes / 1e6).toFixed(1)} MB`)
  t.ok(bytes < 150e6)
})

void t.test(
  'the environment alone configures a container with a read-only root: a user logs in, and SIGTERM ends it with 0',
  async (t) => {
    const env = await settings()
    const { GATEHOUSE_PUBLIC_URL: url } = env
    const health = async (): Promise<number | null> => run(t, healthcheck, env).ended
    t.equal(await health(), 1, 'the health check says 1 before it runs')

    const gateway = run(t, start, env)
    await gateway.listening()
    const refused = await fetch(`${url}/api/echo`)
    t.equal(refused.status, 401)
    t.match(await refused.json(), { code: 'login_required' })
    const { answer } = await createBrowser().login(`${url}/api/echo`, 'alice')
    t.equal(answer.status, 200)
    t.match(answer.body, '"authorization":"Bearer ')
    t.equal((await fetch(`${url}/oauth2/client.js`)).status, 200)

    const pid = gateway.pid()
    const seen = readFileSync(`/proc/${pid}/status`, 'utf8')
    t.match(seen, /^Uid:\t65532\t65532\t65532\t65532$/m)
    t.match(seen, /^Gid:\t65532\t65532\t65532\t65532$/m)
    t.match(readFileSync(`/proc/${pid}/mountinfo`, 'utf8'), /^\d+ \d+ \S+ \S+ \/ ro,/m)
    t.match(readFileSync(`/proc/${pid}/maps`, 'utf8'), 'sodium-native', 'native code, too')

    t.equal(await health(), 0, 'the health check says 0 while it runs')
    process.kill(pid, image.StopSignal)
    t.equal(await gateway.ended, 0)
    t.match(gateway.said(), '"event":"stopped"')
    t.equal(await health(), 1, 'and 1 when it has stopped')
  },
)

void t.test(
  'a mounted file named by GATEHOUSE_CONFIG configures the container, and the health check works without an admin ' +
    'listener',
  async (t) => {
    const { GATEHOUSE_PUBLIC_URL: url, ...env } = await settings()
    mkdirSync(join(root, 'etc/gatehouse'), { recursive: true })
    writeFileSync(
      join(root, 'etc/gatehouse/gatehouse.yaml'),
      JSON.stringify({ publicUrl: url, admin: false, routes: [{ path: '/**', access: 'public' }] }),
    )
    const mounted = { ...env, GATEHOUSE_ADMIN_LISTEN: '', GATEHOUSE_CONFIG: '/etc/gatehouse/gatehouse.yaml' }
    const gateway = run(t, start, mounted)
    await gateway.listening()
    t.equal((await fetch(`${url}/api/orders`)).status, 200)
    t.equal(await run(t, healthcheck, mounted).ended, 0)
    process.kill(gateway.pid(), image.StopSignal)
    t.equal(await gateway.ended, 0)
  },
)

void t.test('the `docker run` of the README starts the gateway', async (t) => {
  const [, commands = ''] =
    /^```sh\n(docker build .*?)^```$/ms.exec(readFileSync(join(project, 'README.md'), 'utf8')) ?? []
  const [, options = ''] = /^docker run (--read-only .*) gatehouse$/m.exec(commands.replaceAll('\\\n', ' ')) ?? []
  const variables = [...options.matchAll(/-e (\w+)(?:=(\S+))?/g)].map(([, name = '', value]) => [name, value] as const)
  t.ok(variables.some(([name]) => name === 'GATEHOUSE_PUBLIC_URL'))
  const exported: Record<string, string> = {
    GATEHOUSE_PROVIDER_CLIENT_SECRET: 'only-for-this-test',
    GATEHOUSE_SESSION_KEYS: Buffer.alloc(32, 3).toString('base64'),
  }
  for (const [name, value] of variables)
    if (value === undefined) t.match(commands, `export ${name}=`, `${name} comes from the shell`)

  const [port, adminPort] = [await freePort(), await freePort()]
  const gateway = run(t, start, {
    ...Object.fromEntries(variables.map(([name, value]) => [name, value ?? exported[name] ?? ''])),
    GATEHOUSE_LISTEN: `127.0.0.1:${port}`,
    GATEHOUSE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
  })
  await gateway.listening()
  t.equal((await fetch(`http://127.0.0.1:${port}/api/orders`)).status, 401)
  process.kill(gateway.pid(), image.StopSignal)
  t.equal(await gateway.ended, 0)
})

void t.test('the other commands work, and an invalid configuration ends the container with status 2', async (t) => {
  const keygen = run(t, [...image.Entrypoint, 'keygen'], {})
  t.equal(await keygen.ended, 0)
  t.equal(Buffer.from(keygen.said().trim(), 'base64').length, 32)
  t.equal(await run(t, start, {}).ended, 2)
})

void t.test('the container’s user can read the code cache compiled at build time', async (t) => {
  const env = { ...(await settings()), NODE_DEBUG_NATIVE: 'COMPILE_CACHE' }
  const gateway = run(t, start, env)
  await gateway.listening()
  process.kill(gateway.pid(), image.StopSignal)
  t.equal(await gateway.ended, 0)
  t.match(gateway.said(), /V8 code cache for ESM file:\/\/\/opt\/gatehouse\/dist\/chunks\/start-\w+\.js was accepted/)
})
