import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse } from 'yaml'
import { asFile } from '../support/gateway.ts'
import { runProgram } from '../support/program.ts'
import { application, chart, configurationIn, helm, of, render, values, withValues, type Manifest } from './helm.ts'
import { mistakesIn } from './kubernetes-schemas.ts'

const examples = readdirSync(join(chart, 'ci')).map((name) => join(chart, 'ci', name))

/** The Secrets of the examples. */
const secrets = {
  GATEHOUSE_PROVIDER_CLIENT_SECRET: 'secret',
  GATEHOUSE_SESSION_KEYS: Buffer.alloc(32, 7).toString('base64'),
}
const referenced = {
  OIDC_CLIENT_SECRET: 'secret',
  SESSION_KEY: Buffer.alloc(32, 7).toString('base64'),
  OLD_SESSION_KEY: Buffer.alloc(32, 8).toString('base64'),
  REDIS_URL: 'rediss://redis:6379',
  ADMIN_TOKEN: 'an-administrators-token',
}

type Container = Record<string, unknown> & {
  ports: { name: string; containerPort: number }[]
  startupProbe: unknown
  readinessProbe: unknown
}
type Pod = {
  containers: Container[]
  initContainers?: Container[]
  securityContext: unknown
  volumes: { name: string }[]
}

const templateOf = (manifests: readonly Manifest[]) =>
  (
    of(manifests, 'Deployment') as unknown as {
      spec: { replicas?: number; template: { metadata: { annotations: Record<string, string> }; spec: Pod } }
    }
  ).spec.template

const gatewayIn = (manifests: readonly Manifest[]): Container => {
  const { containers, initContainers = [] } = templateOf(manifests).spec
  const found = [...containers, ...initContainers].find(({ name }) => name === 'gatehouse')
  if (found === undefined) throw new Error('no gateway')
  return found
}

const passesCheck = async (t: Test, manifests: readonly Manifest[]): Promise<void> => {
  const written = configurationIn(manifests)
  // Files that other volumes bring are not on this machine.
  const file = asFile(t, parse(written.replace(/^.*caFile: .*$/gm, '')) as Record<string, unknown>)
  const named = written.includes('${') ? referenced : secrets
  const { status, stderr } = await runProgram(t, ['check', '--config', file], named)
  t.equal(status, 0, stderr)
}

/** The objects of these tests, which the last test checks with one run of the compiler. */
const rendered: Manifest[] = []

void t.test('the chart passes helm lint with its default values', async (t) => {
  const { status, output } = await helm('lint', chart, '--strict')
  t.equal(status, 0, output)
})

for (const file of examples) {
  void t.test(
    `${file.slice(chart.length + 1)}: passes helm lint, and the gateway accepts its configuration`,
    async (t) => {
      const { status, output } = await helm('lint', chart, '--strict', '-f', file)
      t.equal(status, 0, output)
      const manifests = await render(chart, '-f', file)
      rendered.push(...manifests)
      await passesCheck(t, manifests)
    },
  )
}

void t.test(
  'an application’s chart with the sidecar passes helm lint, is valid, and starts the gateway first',
  async (t) => {
    const folder = application(t)
    const { status, output } = await helm('lint', folder)
    t.equal(status, 0, output)
    const manifests = await render(folder)
    rendered.push(...manifests)
    await passesCheck(t, manifests)
    t.same(manifests.map(({ kind }) => kind).toSorted(), ['ConfigMap', 'Deployment', 'Service'])
    const { metadata, spec } = templateOf(manifests)
    const [sidecar] = spec.initContainers ?? []
    t.match(sidecar, {
      name: 'gatehouse',
      restartPolicy: 'Always',
      envFrom: [{ secretRef: { name: 'orders-gatehouse' } }],
    })
    t.match(spec.volumes, [{ name: 'gatehouse-config', configMap: { name: of(manifests, 'ConfigMap').metadata.name } }])
    t.match(metadata.annotations['checksum/config'], /^[0-9a-f]{64}$/)
  },
)

void t.test('a configuration is the only value that the sidecar needs', async (t) => {
  const manifests = await render(
    application(t),
    ...withValues(t, {
      gatehouse: { image: null, probes: null, resources: null, securityContext: null, nameOverride: null },
    }),
  )
  rendered.push(...manifests)
  t.match(gatewayIn(manifests), { image: /^gatehouse:\d/, securityContext: { readOnlyRootFilesystem: true } })
})

void t.test('the schema check detects unknown fields and invalid values', async (t) => {
  const manifests = await render(chart, ...withValues(t, values()))
  const deployment = structuredClone(of(manifests, 'Deployment')) as { spec: Record<string, unknown> } & Manifest
  deployment.spec['replica'] = 2
  t.match(await mistakesIn([deployment]), [/replica.* does not exist in type 'IDeploymentSpec'/])
  const service = structuredClone(of(manifests, 'Service')) as unknown as {
    spec: { ports: { port: unknown }[] }
  } & Manifest
  service.spec.ports = [{ port: 'eighty' }]
  t.ok((await mistakesIn([service])).length >= 2)
})

void t.test('each optional resource is rendered only on request', async (t) => {
  const kinds = async (change: object): Promise<string[]> =>
    (await render(chart, ...withValues(t, values(change)))).map(({ kind }) => kind).toSorted()
  const always = ['ConfigMap', 'Deployment', 'Pod', 'Service', 'ServiceAccount']
  t.same(await kinds({}), always)
  const on = { enabled: true }
  for (const [part, more] of Object.entries({
    ingress: ['Ingress'],
    podDisruptionBudget: ['PodDisruptionBudget'],
    networkPolicy: ['NetworkPolicy'],
    serviceMonitor: ['Service', 'ServiceMonitor'],
    forwardAuth: ['Service'],
  }))
    t.same(await kinds({ [part]: on }), [...always, ...more].toSorted(), part)
  t.same(await kinds({ httpRoute: { ...on, parentRefs: [{ name: 'public' }] } }), [...always, 'HTTPRoute'].toSorted())
  t.same(
    await kinds({ autoscaling: on, config: { session: { store: 'rediss://redis:6379' } } }),
    [...always, 'HorizontalPodAutoscaler'].toSorted(),
  )
})

void t.test('the pods meet the restricted Pod Security Standard', async (t) => {
  const manifests = await render(chart, ...withValues(t, values()))
  t.match(templateOf(manifests).spec, {
    automountServiceAccountToken: false,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
  })
  t.match(gatewayIn(manifests), {
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { drop: ['ALL'] },
      readOnlyRootFilesystem: true,
      runAsNonRoot: true,
      runAsUser: 65532,
      seccompProfile: { type: 'RuntimeDefault' },
    },
  })
})

void t.test(
  'the kubelet probes the admin listener on the pod’s address, or runs a command if the listener is on loopback',
  async (t) => {
    const http = await render(chart, ...withValues(t, values()))
    t.match(gatewayIn(http), {
      livenessProbe: { httpGet: { path: '/livez', port: 'admin' } },
      readinessProbe: { httpGet: { path: '/readyz', port: 'admin' } },
    })
    t.match(parse(configurationIn(http)), { admin: { listen: '0.0.0.0:9090' } })
    t.same(
      gatewayIn(http).ports.map(({ name, containerPort }) => [name, containerPort]),
      [
        ['http', 8080],
        ['admin', 9090],
      ],
    )
    const exec = await render(chart, ...withValues(t, values({ probes: { type: 'exec' } })))
    t.match(gatewayIn(exec), {
      readinessProbe: { exec: { command: ['node', '/opt/gatehouse/dist/main.js', 'health', '--ready'] } },
    })
    t.equal(parse(configurationIn(exec)).admin, undefined)
    t.same(
      gatewayIn(exec).ports.map(({ name }) => name),
      ['http'],
    )
  },
)

void t.test('the forward-auth listener has its own Service, which is not exposed', async (t) => {
  const proxy = [{ podSelector: { matchLabels: { app: 'traefik' } } }]
  const manifests = await render(
    chart,
    ...withValues(
      t,
      values({
        forwardAuth: { enabled: true, port: 8090 },
        service: { type: 'LoadBalancer' },
        ingress: { enabled: true },
        httpRoute: { enabled: true, parentRefs: [{ name: 'public' }] },
        serviceMonitor: { enabled: true },
        networkPolicy: { enabled: true, forwardAuthFrom: proxy },
        config: { basePath: '/login' },
      }),
    ),
  )
  rendered.push(...manifests)
  t.match(parse(configurationIn(manifests)), { forwardAuth: { listen: '0.0.0.0:8090' } })
  t.match(gatewayIn(manifests).ports.at(-1), { name: 'forward-auth', containerPort: 8090 })
  t.match(of(manifests, 'Service', 'shop-gatehouse-forward-auth'), {
    spec: { type: 'ClusterIP', ports: [{ port: 8090, targetPort: 'forward-auth' }] },
  })
  t.match(of(manifests, 'Service', 'shop-gatehouse'), {
    spec: { type: 'LoadBalancer', ports: [{ targetPort: 'http' }] },
  })
  for (const kind of ['Ingress', 'HTTPRoute']) {
    const written = JSON.stringify(of(manifests, kind))
    t.notMatch(written, /forward-auth|8090/, kind)
    t.match(written, '"/login"', 'the gateway’s own URLs alone')
    t.notMatch(written, '"/"')
  }
  const policy = of(manifests, 'NetworkPolicy') as unknown as {
    spec: { ingress: { ports: unknown[]; from?: unknown }[] }
  }
  t.same(
    policy.spec.ingress.filter(({ ports }) => JSON.stringify(ports).includes('forward-auth')),
    [{ ports: [{ port: 'forward-auth', protocol: 'TCP' }], from: proxy }],
  )
  const without = await render(chart, ...withValues(t, values({ ingress: { enabled: true } })))
  t.equal(parse(configurationIn(without)).forwardAuth, undefined)
  t.match(JSON.stringify(of(without, 'Ingress')), '"path":"/"')
})

void t.test('the configuration is rendered as it was written', async (t) => {
  const config = {
    routes: [
      {
        path: '/api/**',
        methods: ['GET'],
        headers: { set: { 'X-User': '{claims.email}', 'X-Note': '${NOTE:-none}: "quoted", #not a comment' } },
        challenge: 401,
      },
      {
        path: '/**',
        preservePost: false,
        require: {
          claims: {
            'realm_access.roles': [
              'a,b',
              'yes',
              '0x1',
              '0o17',
              '1e3',
              '1:30',
              '~',
              'null',
              '007',
              '1_000',
              '!x',
              '*y',
              ' z',
            ],
          },
          acr: null,
        },
      },
    ],
    pages: { title: 'Zoë’s {{ orders }}' },
    session: { store: 'memory:?max=2000000', endWithIdToken: true },
  }
  const manifests = await render(chart, ...withValues(t, values({ config })))
  t.match(parse(configurationIn(manifests)), { ...config, upstream: 'http://orders:80' })
})

void t.test('a changed configuration restarts the pods', async (t) => {
  const checksum = async (change: object): Promise<string | undefined> =>
    templateOf(await render(chart, ...withValues(t, values(change)))).metadata.annotations['checksum/config']
  t.equal(await checksum({}), await checksum({ podLabels: { team: 'shop' } }))
  t.not(await checksum({}), await checksum({ config: { basePath: '/login' } }))
})

void t.test('the autoscaler, if enabled, sets the number of pods', async (t) => {
  const store = { session: { store: '${REDIS_URL}' } }
  const replicas = async (change: object): Promise<unknown> =>
    (
      of(await render(chart, ...withValues(t, values({ ...change, config: store }))), 'Deployment') as unknown as {
        spec: { replicas?: number }
      }
    ).spec.replicas
  t.equal(await replicas({ replicaCount: 3 }), 3)
  t.equal(await replicas({ autoscaling: { enabled: true } }), undefined)
})

void t.test('contradictory values are refused with what to write instead', async (t) => {
  const refusals: [object, RegExp][] = [
    [
      { replicaCount: 2 },
      /replicaCount above 1 needs a store that all replicas share: write config\.session\.store: rediss:/,
    ],
    [
      { autoscaling: { enabled: true }, config: { session: { store: 'memory:?max=10' } } },
      /autoscaling needs a store that all replicas share/,
    ],
    [
      { replicaCount: 2, existingSecret: '', config: { session: { store: 'redis://redis' } } },
      /needs session keys that all replicas share: put GATEHOUSE_SESSION_KEYS into a Secret/,
    ],
    [
      { config: { upstream: 'http://elsewhere' } },
      /upstreamService\.name and config\.upstream both say what is protected: keep one/,
    ],
    [
      { config: { provider: { clientSecret: 'written-out' } } },
      /config\.provider\.clientSecret is a secret.*write \$\{NAME\} here/,
    ],
    [
      { config: { providers: { staff: { clientSecret: 'written-out' } } } },
      /config\.providers\.staff\.clientSecret is a secret/,
    ],
    [{ config: { provider: { idTokenKeys: ['written-out'] } } }, /config\.provider\.idTokenKeys\[0\] is a secret/],
    [
      { config: { admin: { sessions: { token: 'written-out' } } } },
      /config\.admin\.sessions\.token is a secret.*write \$\{NAME\} here/,
    ],
    [{ config: { session: { keys: ['c2VjcmV0'] } } }, /config\.session\.keys\[0\] is a secret/],
    [
      { config: { session: { store: 'rediss://user:password@redis:6379' } } },
      /config\.session\.store has a password in it.*write \$\{REDIS_URL\}/,
    ],
    [{ config: { session: { store: 'redis://:pa$s/word@redis' } } }, /config\.session\.store has a password in it/],
    [
      { config: { provider: { proxy: 'http://user:password@proxy:3128' } } },
      /config\.provider\.proxy has a password in it.*write \$\{PROXY_URL\}/,
    ],
    [{ config: { assertion: { keys: 'written-out' } } }, /config\.assertion\.keys\[0\] is a secret/],
    [{ config: { listen: 'unix:/run/gatehouse.sock' } }, /config\.listen is a Unix socket, which no Service reaches/],
    [{ config: { listen: 8080 } }, /config\.listen: 8080 is no address with a port.*write 0\.0\.0\.0:8080/],
    [{ config: { listen: '${LISTEN}' } }, /config\.listen: \$\{LISTEN\} is no address with a port/],
    [{ config: { admin: { listen: 9191 } } }, /config\.admin\.listen: 9191 is no address.*write 0\.0\.0\.0:9090/],
    [{ enabled: false, redis: { enabled: true } }, /enabled: false does not leave out the Redis of the chart/],
    [{ mode: 'sidecar' }, /upstreamService is for mode: proxy.*write config\.upstream/],
    [{ mode: 'sidecar', upstreamService: {}, ingress: { enabled: true } }, /mode: sidecar makes the ConfigMap only/],
    [{ config: { admin: false } }, /config\.admin: false leaves nothing for the kubelet to ask.*probes\.type: exec/],
    [
      { config: { admin: { listen: '127.0.0.1:9091' } } },
      /127\.0\.0\.1:9091 is out of the kubelet's reach: write 0\.0\.0\.0:9090/,
    ],
    [
      { config: { forwardAuth: { listen: '0.0.0.0:8081' } } },
      /config\.forwardAuth has no Service and no NetworkPolicy: write forwardAuth\.enabled: true/,
    ],
    [
      { mode: 'sidecar', upstreamService: {}, forwardAuth: { enabled: true } },
      /forwardAuth is for mode: proxy.*write config\.forwardAuth\.listen: 127\.0\.0\.1:8081/,
    ],
    [
      { forwardAuth: { enabled: true }, networkPolicy: { enabled: true } },
      /the proxy can't reach the forward-auth listener: write networkPolicy\.forwardAuthFrom/,
    ],
    [
      { networkPolicy: { enabled: true, forwardAuthFrom: [{}] } },
      /networkPolicy\.forwardAuthFrom is for the forward-auth listener: write forwardAuth\.enabled: true/,
    ],
    [{ httpRoute: { enabled: true } }, /httpRoute belongs to no Gateway: write httpRoute\.parentRefs/],
    [
      { ingress: { enabled: true }, config: { publicUrl: '${PUBLIC_URL}' } },
      /ingress has no host: write ingress\.hosts/,
    ],
    [{ replicas: 2 }, /additional properties 'replicas' not allowed/],
    [{ mode: 'gateway' }, /mode/],
  ]
  for (const [change, words] of refusals) {
    const { status, output } = await helm('template', 'shop', chart, ...withValues(t, values(change)))
    t.not(status, 0)
    t.match(output, words)
  }
})

void t.test('the chart and the program have the same version', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  t.match(parse(readFileSync(join(chart, 'Chart.yaml'), 'utf8')), { appVersion: version })
  t.match(gatewayIn(await render(chart, ...withValues(t, values()))), { image: `gatehouse:${version}` })
})

void t.test('the installation notes say what is still missing', async (t) => {
  const notes = async (given: object): Promise<string> =>
    (await helm('install', 'shop', chart, '--dry-run=client', '--namespace', 'orders', ...withValues(t, given))).output
  const complete = await notes(values({ networkPolicy: { enabled: true } }))
  t.match(complete, /Register https:\/\/orders\.example\.com\/oauth2\/callback at the provider/)
  for (const path of ['callback', 'backchannel', 'frontchannel'])
    t.match(complete, `https://orders.example.com/oauth2/logout/${path} as`)
  t.notMatch(complete, /is not set/)
  const central = values({
    config: {
      publicUrl: ['https://auth.example.com', 'https://*.example.com'],
      loginHost: 'https://auth.example.com',
      session: { cookie: { domain: 'example.com' } },
    },
    ingress: { enabled: true },
  })
  const atLoginHost = await notes(central)
  t.match(atLoginHost, 'Register https://auth.example.com/oauth2/callback at the provider')
  t.notMatch(atLoginHost, 'Register https://*', 'the provider knows the login host alone')
  t.match(atLoginHost, 'host: "*.example.com"', 'the Ingress covers all hosts')
  const several = await notes(values({ config: { providers: { staff: {}, partners: {} }, listen: '127.0.0.1:8080' } }))
  t.match(several, 'config.listen is on loopback, where the Service does not reach the gateway')
  for (const name of ['staff', 'partners'])
    t.match(several, `Register https://orders.example.com/oauth2/callback/${name} at the provider ${name}`)
  t.notMatch(several, 'oauth2/callback at the provider')
  const bare = await notes({})
  t.match(bare, /config\.publicUrl is not set/)
  t.notMatch(bare, /[Vv]erdicts/)
  const open = await notes(values({ forwardAuth: { enabled: true } }))
  t.match(open, 'Verdicts are at http://shop-gatehouse-forward-auth.orders.svc:8081/auth, for the proxy alone')
  t.match(open, /A client that reaches that address with the cookie of a session gets its access token/)
  t.match(open, /config\.trustedProxies is empty/)
  const from = { enabled: true, forwardAuthFrom: [{ podSelector: {} }] }
  t.notMatch(
    await notes(values({ forwardAuth: { enabled: true }, networkPolicy: from })),
    /A client that reaches that address/,
  )
  t.match(bare, /can read health and metrics on a gateway pod's port 9090/)
  t.notMatch(bare, /end sessions/)
  const admin = { sessions: { token: '${ADMIN_TOKEN}' } }
  t.match(await notes(values({ config: { admin } })), /the token of config\.admin\.sessions .* port 9090/)
  t.match(await notes(values({ config: { admin: { sessions: 'loopback' } } })), /from loopback can list and end/)
})

void t.test('session administration on a pod’s address is off by default, and needs a token', async (t) => {
  const admin = async (change: object): Promise<unknown> =>
    parse(configurationIn(await render(chart, ...withValues(t, values(change))))).admin
  t.same(await admin({}), { listen: '0.0.0.0:9090' }, 'health and metrics alone')
  const sessions = { token: '${ADMIN_TOKEN}' }
  t.same(await admin({ config: { admin: { sessions } } }), { listen: '0.0.0.0:9090', sessions })
  const policy = of(
    await render(chart, ...withValues(t, values({ networkPolicy: { enabled: true, from: [{ podSelector: {} }] } }))),
    'NetworkPolicy',
  )
  t.match(policy, { spec: { ingress: [{ ports: [{ port: 'http' }] }] } }, 'other clients do not reach the listener')
  t.equal((policy as unknown as { spec: { ingress: unknown[] } }).spec.ingress.length, 1)
})

void t.test('the rendered objects are valid by the schemas of Kubernetes', async (t) => {
  t.same(await mistakesIn(rendered), [])
})
