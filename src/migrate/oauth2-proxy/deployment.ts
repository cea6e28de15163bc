import { isMapping } from '../../config/key-path.ts'
import { has, type Migration, partAt, put, putSessionKey, remark } from '../migration.ts'
import type { Setting } from '../setting.ts'
import { variablesIn } from '../variable.ts'
import { adaptedValue, otherDefaults } from './adapted-values.ts'
import { chartPathOf } from './chart-values.ts'
import { VERDICTS_ONLY } from './routes.ts'

/** The values that both charts have under the same name, with all values within them. */
const SAME = new Set([
  'global',
  'imagePullSecrets',
  'namespaceOverride',
  'kubeVersion',
  'customLabels',
  'containerPort',
  'service',
  'serviceAccount',
  'ingress',
  'gatewayApi',
  'resources',
  'resizePolicy',
  'extraVolumes',
  'extraVolumeMounts',
  'extraContainers',
  'extraInitContainers',
  'priorityClassName',
  'hostAliases',
  'tolerations',
  'nodeSelector',
  'affinity',
  'topologySpreadConstraints',
  'livenessProbe',
  'readinessProbe',
  'securityContext',
  'deploymentLabels',
  'deploymentAnnotations',
  'podAnnotations',
  'podLabels',
  'podSecurityContext',
  'replicaCount',
  'revisionHistoryLimit',
  'strategy',
  'enableServiceLinks',
  'lifecycle',
  'terminationGracePeriodSeconds',
  'podDisruptionBudget',
  'autoscaling',
  'metrics',
  'extraEnv',
  'envFrom',
  'extraObjects',
])

/** The values that have another name in Gatehouse's chart. */
const RENAMED: Readonly<Record<string, string>> = {
  'config.annotations': 'configMapAnnotations',
  'networkPolicy.create': 'networkPolicy.enabled',
  'networkPolicy.ingress': 'networkPolicy.ingress',
  'networkPolicy.egress': 'networkPolicy.egress',
  'image.pullPolicy': 'image.pullPolicy',
  'image.registry': 'image.registry',
}

/** What to do about the values that Gatehouse's chart does not have. */
const NOTES: Readonly<Record<string, string>> = {
  'image': 'it names the image of oauth2-proxy, and is left out: the chart has its own',
  'nameOverride': 'it is left out, so that both releases can run side by side: set it when the old release is removed',
  'fullnameOverride':
    'it is left out, so that both releases can run side by side: set it when the old release is removed',
  'httpScheme': 'it is left out: with tls, set httpScheme: https after the certificate is in config.tls',
  'initContainers': 'nothing waits for Redis before the start: readiness says when Redis is reachable',
  'redis-ha': 'keep this Redis in a release of its own, or use the redis dependency of the chart',
  'checkDeprecation': 'it checks the API versions of another chart',
  'authenticatedEmailsFile': 'it is off, so it has no effect',
  'htpasswdFile': 'it is off, so it has no effect',
  'alphaConfig': 'it has no effect without alphaConfig.enabled, or is about the Secret with that configuration',
  'config.forceLegacyConfig': 'it chooses between two configuration files of oauth2-proxy',
  'config.existingConfig': 'it is empty',
  'config.requiredSecretKeys': 'the variables that the configuration refers to are under extraEnv and existingSecret',
  'proxyVarsAsSecrets': 'secrets are always variables here',
  'service.targetPort': 'the Service always leads to the port of config.listen',
}

/** Copies the values of oauth2-proxy's chart that say how the program is deployed. */
export function migrateDeployment(migration: Migration): void {
  for (const setting of migration.settings) {
    const names = chartPathOf(setting.key)
    if (names === null) continue
    const target = targetOf(names)
    if (names[0] === 'extraObjects' && JSON.stringify(setting.value).includes('"kind":"Secret"')) {
      remark(migration, 'differs', setting, 'it contains a Secret, which is never printed: copy it by hand')
    } else if (/include \\+"oauth2-proxy\./.test(JSON.stringify(setting.value))) {
      remark(
        migration,
        'gap',
        setting,
        'it includes a template of the chart of oauth2-proxy: write it for helm/gatehouse',
      )
    } else if (target !== null && names[0] === 'extraEnv' && Array.isArray(setting.value)) {
      const kept = setting.value.filter((item) => !holdsSecret(item))
      migration.values.set('extraEnv', kept)
      migration.handled.add(setting)
      if (kept.length < setting.value.length)
        remark(
          migration,
          'differs',
          setting,
          'values that may be secrets are left out, and never printed: copy them by hand',
        )
    } else if (target !== null) {
      const value = adaptedValue(migration, names, setting)
      if (value !== undefined) setValue(migration, target, value)
      migration.handled.add(setting)
    } else remark(migration, noteOf(names) === null ? 'gap' : 'differs', setting, noteOf(names) ?? UNKNOWN)
  }
}

/** Returns whether a variable has a value of its own that may be a secret. */
function holdsSecret(item: unknown): boolean {
  return (
    isMapping(item) && item['value'] !== undefined && /SECRET|TOKEN|PASSW|CREDENTIAL|_KEY$/i.test(String(item['name']))
  )
}

const UNKNOWN = 'helm/gatehouse has no value of this name: look up what it does, and whether you need it'

/** Returns where a value belongs; `null` if Gatehouse's chart does not have it. */
function targetOf(names: readonly string[]): string[] | null {
  for (const [name, target] of Object.entries(RENAMED)) {
    const length = name.split('.').length
    if (names.slice(0, length).join('.') === name) return [...target.split('.'), ...names.slice(length)]
  }
  return !Object.hasOwn(NOTES, names.join('.')) && SAME.has(names[0] ?? '') ? [...names] : null
}

function noteOf(names: readonly string[]): string | null {
  for (let length = names.length; length > 0; length -= 1) {
    const name = names.slice(0, length).join('.')
    if (Object.hasOwn(NOTES, name)) return NOTES[name] ?? null
  }
  return null
}

function setValue(migration: Migration, path: readonly string[], value: unknown): void {
  const [top = '', ...rest] = path
  const last = rest.pop()
  if (last === undefined) {
    migration.values.set(top, value)
    return
  }
  const before = migration.values.get(top)
  let at: Record<string, unknown> = isMapping(before) ? before : {}
  migration.values.set(top, at)
  for (const name of rest) {
    const inner = at[name]
    const next: Record<string, unknown> = isMapping(inner) ? inner : {}
    at[name] = next
    at = next
  }
  at[last] = value
}

/** The name of the Secret for what has no Secret yet. */
const NEW_SECRET = 'gatehouse'
const NAMED_FIRST = ['existingSecret', 'extraEnv']

/** Sets the values that the configuration needs, after the configuration is complete. */
export function migrateValues(migration: Migration, isOfChart: boolean): void {
  if (isOfChart) for (const [path, value] of otherDefaults(migration)) setValue(migration, path.split('.'), value)
  leaveListenersToChart(migration)
  keepTimeToStop(migration)
  putSharedStore(migration)
  const names = variablesIn(JSON.stringify(migration.parts.map(({ value }) => value)))
  const own = [...JSON.stringify(migration.parts.map(({ value }) => value)).matchAll(/(?<!\$)\$\{([A-Z][A-Z0-9_]*)\}/g)]
  const all = [...new Set([...names, ...own.map(([, name = '']) => name)])]
  const known = all.flatMap((name) => {
    const valueFrom = migration.origins.get(name)?.valueFrom
    return valueFrom === undefined ? [] : [{ name, valueFrom }]
  })
  const unknown = all.filter((name) => !known.some((one) => one.name === name))
  const kept = migration.values.get('extraEnv')
  const extraEnv = [...known, ...(Array.isArray(kept) ? (kept as unknown[]) : [])]
  if (extraEnv.length > 0) migration.values.set('extraEnv', extraEnv)
  remark(migration, 'todo', null, imageToPush(migration))
  if (unknown.length > 0) {
    migration.values.set('existingSecret', NEW_SECRET)
    const keys = unknown.map(
      (name) => `--from-literal=${name}=${name === 'SESSION_KEY' ? '"$(gatehouse keygen)"' : '…'}`,
    )
    remark(
      migration,
      'todo',
      null,
      `create the Secret that existingSecret names: kubectl create secret generic ${NEW_SECRET} ${keys.join(' ')}`,
    )
  }
  const sorted = [...migration.values].toSorted(([a], [b]) => position(a) - position(b))
  migration.values.clear()
  for (const [name, value] of sorted) migration.values.set(name, value)
}

/** No image is published, so the image must be in a registry of the operator. */
function imageToPush({ values }: Migration): string {
  const [image, shared] = ['image', 'global'].map((name) => values.get(name))
  const known = [
    isMapping(image) ? image['registry'] : undefined,
    isMapping(shared) ? shared['imageRegistry'] : undefined,
  ].find((one) => typeof one === 'string' && one !== '')
  const registry = typeof known === 'string' ? known : 'REGISTRY'
  const set = registry === 'REGISTRY' ? ', and set image.registry' : ''
  return `no image is published: build it, push it as ${registry}/gatehouse-gateway/gatehouse:VERSION with the appVersion of the chart${set}`
}

function position(name: string): number {
  const index = NAMED_FIRST.indexOf(name)
  return index === -1 ? NAMED_FIRST.length : index
}

const DRAIN_S = 35

/** A pod must have the time for `shutdown.wait` and `shutdown.drain`. */
function keepTimeToStop(migration: Migration): void {
  const wait = partAt(migration, 'shutdown.wait')
  const given = migration.values.get('terminationGracePeriodSeconds')
  const needed = Number.parseInt(String(wait?.value), 10) + DRAIN_S
  if (wait === undefined || Number(given ?? DEFAULT_GRACE_S) >= needed) return
  migration.values.set('terminationGracePeriodSeconds', needed)
  const text = `terminationGracePeriodSeconds is ${needed}, longer than shutdown.wait and the 30s of shutdown.drain`
  remark(migration, 'differs', wait.from[0] ?? null, text)
}

const DEFAULT_GRACE_S = 45

/** The chart chooses the addresses, which its Services and probes need. */
function leaveListenersToChart(migration: Migration): void {
  for (const path of ['listen', 'listenMode', 'admin.listen']) {
    for (const setting of takePart(migration, path))
      remark(migration, 'builtin', setting, 'the chart chooses this address')
  }
}

/** Removes a key of the configuration and returns the settings that it comes from. */
function takePart(migration: Migration, path: string): readonly Setting[] {
  const index = migration.parts.findIndex((part) => part.path.join('.') === path)
  const [part] = index === -1 ? [] : migration.parts.splice(index, 1)
  return part?.from ?? []
}

/**
 * Enables the chart's Service for forward-auth if oauth2-proxy forwarded no request itself. Otherwise the Ingress must
 * lead to the gateway, and not only to its own URLs.
 */
export function leaveForwardAuthToChart(migration: Migration): void {
  const [setting] = takePart(migration, 'forwardAuth.listen')
  if (setting === undefined) return
  const forwards = migration.baseRoutes.some(({ upstream }) => upstream !== null && upstream !== VERDICTS_ONLY)
  if (!forwards) setValue(migration, ['forwardAuth', 'enabled'], true)
  const text = forwards
    ? 'the gateway forwards the requests itself, so forward-auth is off: if a proxy asks for verdicts instead (nginx ' +
      'auth_request, Traefik forwardAuth), set forwardAuth.enabled'
    : 'a proxy that uses forward-auth gets its verdicts from another Service than before: write ' +
      'http://RELEASE-gatehouse-forward-auth.NAMESPACE.svc.cluster.local:8081/auth in auth-url of the ' +
      'applications’ Ingresses, or in auth_request or forwardAuth, and list all headers of headers.set, Authorization ' +
      'and Cookie in auth-response-headers (docs/forward-auth.md). Browsers must not reach this Service: list the pods ' +
      'of the proxy under networkPolicy.forwardAuthFrom'
  remark(migration, 'security', setting, text)
}

/** Several replicas need sessions in Redis. */
function putSharedStore(migration: Migration): void {
  const replicas = migration.values.get('replicaCount')
  const autoscaling = migration.values.get('autoscaling')
  const isScaled = isMapping(autoscaling) && autoscaling['enabled'] === true
  const store = partAt(migration, 'session.store')
  const isShared = store !== undefined && store.value !== 'memory:'
  if (isShared || !(isScaled || Number(replicas) > 1)) return
  put(migration, 'session.store', 'redis://redis.change-me.invalid:6379', ...(store?.from ?? []))
  if (!has(migration, 'session.keys')) putSessionKey(migration)
  const text = 'several replicas share their sessions in Redis, not in cookies: set config.session.store'
  remark(migration, 'todo', null, text)
}
