import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { startIdp } from '../../src/demo/idp.ts'
import { startUpstream } from '../../src/demo/upstream.ts'
import { createBrowser } from '../support/browser.ts'
import { eventually } from '../support/eventually.ts'
import { freePort } from '../support/free-port.ts'
import { asFile } from '../support/gateway.ts'
import { runProgram, startProgram } from '../support/program.ts'
import {
  application,
  chart,
  charts,
  configurationIn,
  helm,
  of,
  render,
  values,
  withValues,
  type Manifest,
} from './helm.ts'
import { mistakesIn } from './kubernetes-schemas.ts'

type Container = {
  readonly image: string
  readonly command: readonly string[]
  readonly args: readonly string[]
  readonly readinessProbe: { readonly exec: { readonly command: readonly string[] } }
  readonly env: readonly {
    readonly name: string
    readonly value?: string
    readonly valueFrom?: { readonly secretKeyRef: { readonly name: string; readonly key: string } }
  }[]
}
type Labels = Readonly<Record<string, string>>
type Pod = {
  readonly metadata: { readonly labels: Labels; readonly annotations?: Labels }
  readonly spec: { readonly containers: readonly [Container]; readonly volumes?: readonly object[] }
}

const on = { enabled: true }

const podOf = (manifests: readonly Manifest[], kind: 'Deployment' | 'StatefulSet'): Pod =>
  (of(manifests, kind) as unknown as { spec: { template: Pod } }).spec.template

const passwordIn = (manifests: readonly Manifest[]): string => {
  const { data } = of(manifests, 'Secret', 'shop-gatehouse-redis') as unknown as { data: Record<string, string> }
  return Buffer.from(data['redis-password'] ?? '', 'base64').toString()
}

/** Returns the environment of a container, with the values that come from rendered Secrets. */
const environmentOf = ({ env }: Container, manifests: readonly Manifest[]): Record<string, string> =>
  Object.fromEntries(
    env.map(({ name, value, valueFrom }) => {
      if (valueFrom === undefined) return [name, value ?? '']
      const secret = of(manifests, 'Secret', valueFrom.secretKeyRef.name) as unknown as { data: Record<string, string> }
      return [name, Buffer.from(secret.data[valueFrom.secretKeyRef.key] ?? '', 'base64').toString()]
    }),
  )

const temporary = (t: Test): string => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-release-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true, force: true })
  })
  return folder
}

/** Runs the container of the rendered Redis with this machine's shell and `redis-server`, on another port. */
const runRedis = (t: Test, manifests: readonly Manifest[], port: number): void => {
  const [container] = podOf(manifests, 'StatefulSet').spec.containers
  const [shell = '', ...command] = container.command
  const data = join(temporary(t), 'data')
  mkdirSync(data)
  const args = container.args.map((arg) => (arg === '/data' ? data : arg === '6379' ? String(port) : arg))
  const child = spawn(shell, [...command, ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...environmentOf(container, manifests) },
    stdio: 'ignore',
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
}

/** Runs the readiness probe of the rendered Redis, and returns its exit status. */
const probe = async (manifests: readonly Manifest[], port: number, password: string): Promise<number> => {
  const [{ readinessProbe }] = podOf(manifests, 'StatefulSet').spec.containers
  const [shell = '', ...args] = readinessProbe.exec.command
  const child = spawn(
    shell,
    args.map((arg) => arg.replace('redis-cli', `redis-cli -p ${port}`)),
    { env: { PATH: process.env['PATH'] ?? '', REDIS_PASSWORD: password }, stdio: 'ignore' },
  )
  const [status]: unknown[] = await once(child, 'close')
  return Number(status)
}

void t.test('a gateway of the chart keeps its sessions in the chart’s Redis, and `helm test` reaches it', async (t) => {
  const [port, adminPort, redisPort, idp, upstream] = await Promise.all([
    freePort(),
    freePort(),
    freePort(),
    startIdp(),
    startUpstream(),
  ])
  t.teardown(async () => {
    await idp.close()
    await upstream.close()
  })
  const url = `http://127.0.0.1:${port}`
  await idp.registerClient({ clientId: 'orders', clientSecret: 'secret', redirectUris: [`${url}/oauth2/callback`] })
  const password = 'a "quoted" \\ pass$word # with everything'
  const manifests = await render(
    chart,
    ...withValues(
      t,
      values({
        upstreamService: {},
        replicaCount: 2,
        redis: { ...on, auth: { password }, extraFlags: ['--bind', '127.0.0.1'] },
        config: {
          listen: `127.0.0.1:${port}`,
          admin: { listen: `0.0.0.0:${adminPort}` },
          publicUrl: url,
          upstream: upstream.url,
          provider: { issuer: idp.issuer, clientId: 'orders', clientSecret: '${OIDC_CLIENT_SECRET}' },
        },
      }),
    ),
  )
  t.same(await mistakesIn(manifests), [])
  t.equal(passwordIn(manifests), password)
  runRedis(t, manifests, redisPort)

  const written = configurationIn(manifests)
  t.match(written, 'store: redis://shop-gatehouse-redis:6379')
  const file = asFile(t, parse(written.replace('shop-gatehouse-redis:6379', `127.0.0.1:${redisPort}`)))
  const existingSecret = {
    OIDC_CLIENT_SECRET: 'secret',
    GATEHOUSE_SESSION_KEYS: randomBytes(32).toString('base64'),
  }
  const [container] = podOf(manifests, 'Deployment').spec.containers
  const env = { ...existingSecret, ...environmentOf(container, manifests), GATEHOUSE_CONFIG: file }
  const program = startProgram(t, ['start'], env)
  await program.line(/"event":"listening"/)
  await eventually(async () => (await fetch(`http://127.0.0.1:${adminPort}/readyz`)).status === 200, {
    what: 'the gateway is ready',
  })
  t.equal(await probe(manifests, redisPort, password), 0)
  t.not(await probe(manifests, redisPort, 'another password'), 0)
  const browser = createBrowser()
  t.equal((await browser.login(`${url}/`, 'alice')).answer.status, 200)
  t.equal((await browser.get(`${url}/api/echo`, { kind: 'script' })).status, 200)

  await t.test('`helm test` runs a pod that no Service selects', async (t) => {
    const pod = of(manifests, 'Pod') as unknown as Pod
    t.match(pod.metadata.annotations, { 'helm.sh/hook': 'test', 'helm.sh/hook-delete-policy': /before-hook-creation/ })
    const { selector } = (of(manifests, 'Service', 'shop-gatehouse') as unknown as { spec: { selector: Labels } }).spec
    t.notOk(Object.entries(selector).every(([name, value]) => pod.metadata.labels[name] === value))
    const [{ image, args, env: ofTest }] = pod.spec.containers
    t.equal(image, container.image)
    t.same(ofTest, container.env)
    t.same(args, ['health', '--url', 'http://shop-gatehouse.orders.svc:80'])
    const at = async (other: string) =>
      runProgram(
        t,
        args.map((arg) => arg.replace('http://shop-gatehouse.orders.svc:80', other)),
        env,
      )
    const passed = await at(url)
    t.equal(passed.status, 0, passed.stderr)
    const application = await at(upstream.url)
    t.equal(application.status, 1)
    t.match(application.stderr, /\/oauth2\/session answers \d+; a gateway answers 401/)
    t.match(await at(`http://127.0.0.1:${await freePort()}`), { status: 1, stderr: /ECONNREFUSED/ })
    t.match(await at('shop-gatehouse:80'), { status: 1, stderr: /--url must be an http or https URL/ })
    t.match(await runProgram(t, ['health', '--ready', '--url', url], env), { status: 1, stderr: /leave out --url/ })
  })
})

void t.test('the chart’s Redis is valid, and only the gateway’s pods reach it', async (t) => {
  const policy = (manifests: readonly Manifest[]) =>
    (
      of(manifests, 'NetworkPolicy', 'shop-gatehouse-redis') as unknown as {
        spec: { podSelector: { matchLabels: Labels }; ingress: { from: { podSelector: { matchLabels: Labels } }[] }[] }
      }
    ).spec
  const manifests = await render(
    chart,
    ...withValues(
      t,
      values({
        redis: {
          ...on,
          image: { digest: `sha256:${'0'.repeat(64)}` },
          persistence: { enabled: true, storageClass: 'fast', size: '2Gi' },
          networkPolicy: { from: [{ podSelector: { matchLabels: { app: 'redis-exporter' } } }] },
        },
        global: { imageRegistry: 'registry.example.com' },
        networkPolicy: { ...on, from: [{ podSelector: { matchLabels: { app: 'nginx' } } }], egress: [{ ports: [] }] },
      }),
    ),
  )
  t.same(await mistakesIn(manifests), [])
  const redis = podOf(manifests, 'StatefulSet')
  t.match(redis.spec.containers[0].image, `registry.example.com/library/redis@sha256:${'0'.repeat(64)}`)
  t.match(of(manifests, 'StatefulSet'), {
    spec: {
      volumeClaimTemplates: [{ spec: { storageClassName: 'fast', resources: { requests: { storage: '2Gi' } } } }],
    },
  })
  t.equal(redis.spec.volumes, undefined)
  t.match(redis.spec, {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
          readOnlyRootFilesystem: true,
        },
      },
    ],
  })
  t.match(redis.metadata.labels, policy(manifests).podSelector.matchLabels)
  t.match(of(manifests, 'Service', 'shop-gatehouse-redis'), {
    spec: { type: 'ClusterIP', selector: policy(manifests).podSelector.matchLabels, ports: [{ port: 6379 }] },
  })
  const [{ from } = { from: [] }] = policy(manifests).ingress
  t.match(podOf(manifests, 'Deployment').metadata.labels, from[0]?.podSelector.matchLabels)
  t.match(from[1], { podSelector: { matchLabels: { app: 'redis-exporter' } } })

  const own = of(manifests, 'NetworkPolicy', 'shop-gatehouse') as unknown as {
    spec: { egress: object[]; ingress: { from: object[] }[] }
  }
  t.match(own.spec.egress.at(-1), { to: [{ podSelector: { matchLabels: redis.metadata.labels } }] })
  const { labels } = (of(manifests, 'Pod') as unknown as Pod).metadata
  const testLabels = {
    'app.kubernetes.io/name': labels['app.kubernetes.io/name'],
    'app.kubernetes.io/instance': labels['app.kubernetes.io/instance'],
  }
  t.match(own.spec.ingress, [
    { from: [{ podSelector: { matchLabels: { app: 'nginx' } } }, { podSelector: { matchLabels: testLabels } }] },
  ])

  const sidecar = await render(
    application(t),
    ...withValues(t, { gatehouse: { redis: on, config: { session: { store: null } } } }),
  )
  t.same(await mistakesIn(sidecar), [])
  t.match(configurationIn(sidecar), 'store: redis://shop-gatehouse-redis:6379')
  t.match(podOf(sidecar, 'Deployment').metadata.labels, policy(sidecar).ingress[0]?.from[0]?.podSelector.matchLabels)
})

void t.test('the dependency is conditional, and packaged with the chart', async (t) => {
  const without = await render(chart, ...withValues(t, values()))
  t.notOk(without.some(({ kind }) => kind === 'StatefulSet' || kind === 'Secret'))
  const folder = temporary(t)
  t.match(await helm('package', chart, '--destination', folder), { status: 0 })
  const packaged = await render(join(folder, 'gatehouse-0.1.0.tgz'), ...withValues(t, values({ redis: on })))
  t.match(of(packaged, 'StatefulSet'), { metadata: { name: 'shop-gatehouse-redis' } })
  t.match(await helm('lint', '--strict', join(charts, 'gatehouse/charts/redis')), { status: 0 })
})

void t.test('an upgrade keeps the generated password', async (t) => {
  const [first, second] = await Promise.all([
    render(chart, ...withValues(t, values({ redis: on }))),
    render(chart, ...withValues(t, values({ redis: on }))),
  ])
  t.match(passwordIn(first), /^[A-Za-z0-9]{32}$/)
  t.not(passwordIn(first), passwordIn(second))
  // The answers of a cluster in which the first rendering is installed.
  const secret = of(first, 'Secret', 'shop-gatehouse-redis')
  const annotations = { 'meta.helm.sh/release-name': 'shop', 'meta.helm.sh/release-namespace': 'orders' }
  const installed = { ...secret, metadata: { ...secret.metadata, annotations } }
  const resources = (groupVersion: string, kinds: readonly string[]): object => ({
    kind: 'APIResourceList',
    groupVersion,
    resources: kinds.map((kind) => ({ name: `${kind.toLowerCase()}s`, namespaced: true, kind, verbs: ['get'] })),
  })
  const apps = { groupVersion: 'apps/v1', version: 'v1' }
  const answers: Readonly<Record<string, object>> = {
    '/version': { major: '1', minor: '33', gitVersion: 'v1.33.0' },
    '/api': { kind: 'APIVersions', versions: ['v1'] },
    '/apis': { kind: 'APIGroupList', groups: [{ name: 'apps', versions: [apps], preferredVersion: apps }] },
    '/api/v1': resources('v1', ['Secret', 'Service']),
    '/apis/apps/v1': resources('apps/v1', ['StatefulSet']),
    '/api/v1/namespaces/orders/secrets/shop-gatehouse-redis': installed,
  }
  const cluster = createServer(({ url = '' }, res) => {
    const answer = answers[url.replace(/\?.*/, '')]
    res.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' })
    res.end(JSON.stringify(answer ?? { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404 }))
  }).listen(0, '127.0.0.1')
  t.teardown(() => cluster.close())
  await new Promise((resolve) => cluster.once('listening', resolve))
  const { port } = cluster.address() as AddressInfo
  const upgraded = await render(
    join(chart, 'charts/redis'),
    '--dry-run=server',
    '--disable-openapi-validation',
    '--kube-apiserver',
    `http://127.0.0.1:${port}`,
  )
  t.equal(passwordIn(upgraded), passwordIn(first))
})

void t.test('the password of the chart’s Redis may come from a Secret that exists', async (t) => {
  const auth = { existingSecret: '{{ .Release.Namespace }}-redis', existingSecretPasswordKey: 'password' }
  const manifests = await render(chart, ...withValues(t, values({ redis: { ...on, auth } })))
  t.notOk(manifests.some(({ kind }) => kind === 'Secret'))
  for (const kind of ['Deployment', 'StatefulSet'] as const)
    t.match(
      podOf(manifests, kind).spec.containers[0].env.find(({ name }) => name.endsWith('REDIS_PASSWORD')),
      { valueFrom: { secretKeyRef: { name: 'orders-redis', key: 'password' } } },
      kind,
    )
})

void t.test('contradictory values of the store are refused', async (t) => {
  const refusals: [object, RegExp][] = [
    [
      { redis: on, config: { session: { store: 'rediss://redis:6379' } } },
      /redis\.enabled and config\.session\.store both say where the sessions are: keep one/,
    ],
    [
      { redis: on, sessionStorage: { type: 'redis', redis: { standalone: { connectionUrl: 'redis://redis:6379' } } } },
      /redis\.enabled and sessionStorage\.redis both say where the sessions are/,
    ],
    [
      { redis: on, sessionStorage: { type: 'redis', redis: { existingSecret: 'orders-redis' } } },
      /keep one of them; redis\.auth\.existingSecret names the Secret of the chart's Redis/,
    ],
    [
      { sessionStorage: { type: 'redis' } },
      /names no Redis: write sessionStorage\.redis\.standalone\.connectionUrl, or redis\.enabled: true/,
    ],
    [
      {
        sessionStorage: {
          type: 'redis',
          redis: { clientType: 'sentinel', sentinel: { connectionUrls: 'redis://a:1' } },
        },
      },
      /sessionStorage\.redis\.sentinel\.masterName is missing/,
    ],
    [{ redis: on, namespaceOverride: 'elsewhere' }, /redis\.enabled is for the namespace of the release/],
    [{ redis: { ...on, maxmemoryPolicy: 'allkeys-lru' } }, /maxmemoryPolicy/],
    [{ redis: { ...on, architecture: 'replication' } }, /additional properties 'architecture' not allowed/],
  ]
  for (const [change, words] of refusals) {
    const { status, output } = await helm('template', 'shop', chart, '-n', 'orders', ...withValues(t, values(change)))
    t.not(status, 0)
    t.match(output, words)
  }
})
