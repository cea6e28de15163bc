import { isMapping } from '../../config/key-path.ts'
import { type Migration, put, remark } from '../migration.ts'
import type { Setting } from '../setting.ts'

/** Returns the value for Gatehouse's chart, with a remark about the difference; `undefined` leaves the value out. */
type Adapt = (value: unknown, setting: Setting, migration: Migration) => unknown

/** The values that have the same name in both charts, but depend on what oauth2-proxy's pods are like. */
const ADAPTED: Readonly<Record<string, Adapt>> = {
  'networkPolicy.ingress': withOwnPorts,
  'lifecycle.preStop.exec.command': withoutShell,
  'resources.limits.memory': withEnoughMemory,
  'affinity': withOwnLabels,
  'topologySpreadConstraints': withOwnLabels,
}

export function adaptedValue(migration: Migration, names: readonly string[], setting: Setting): unknown {
  for (let length = names.length; length > 0; length -= 1) {
    const name = names.slice(0, length).join('.')
    if (Object.hasOwn(ADAPTED, name)) return ADAPTED[name]?.(setting.value, setting, migration)
  }
  return setting.value
}

function textAt(values: unknown, ...names: readonly string[]): string {
  const found = names.reduce<unknown>((at, name) => (isMapping(at) ? at[name] : undefined), values)
  return typeof found === 'number' || typeof found === 'string' ? String(found) : ''
}

/** Replaces the ports of oauth2-proxy's pods, which would admit no request to the gateway. */
function withOwnPorts(value: unknown, setting: Setting, { settings, remarks }: Migration): unknown {
  const valueOf = (name: string): string => textAt(settings.find(({ key }) => key === `chart:${name}`)?.value)
  const metrics = new Set(['metrics', '44180', valueOf('metrics\0port')])
  const proxy = new Set(['http', 'https', '4180', '4443', valueOf('containerPort')])
  let isChanged = false
  const adapted = mapped(value, (one) => {
    const port = textAt(one, 'port')
    const own = port === '' ? null : metrics.has(port) ? 'admin' : proxy.has(port) ? 'http' : null
    if (own === null || own === port) return one
    isChanged = true
    return { ...one, port: own }
  })
  if (isChanged) {
    const text = 'the ports of oauth2-proxy become http and admin, the names of the ports of the gateway'
    remarks.push({ grade: 'differs', setting, text })
  }
  return adapted
}

const SLEEP = /^(?:(?:\/usr)?(?:\/bin\/)?(?:ba)?sh -e?c )?["']?(?:exec )?(?:\/bin\/)?sleep (\d{1,4})s?["']?;?$/

/** Replaces a pause before the stop by `shutdown.wait`, because the image has no shell and no `sleep`. */
function withoutShell(value: unknown, setting: Setting, migration: Migration): undefined {
  const words = Array.isArray(value) ? value.map(String) : []
  const seconds = SLEEP.exec(words.join(' '))?.[1]
  if (seconds !== undefined) put(migration, 'shutdown.wait', `${seconds}s`, setting)
  remark(
    migration,
    'differs',
    setting,
    seconds === undefined
      ? 'it is left out, because the image of the gateway contains no program except Node.js'
      : 'it becomes config.shutdown.wait, because the image of the gateway has no shell: requests are served meanwhile',
  )
  return undefined
}

const UNITS: Readonly<Record<string, number>> = { '': 1, 'k': 1e3, 'M': 1e6, 'G': 1e9, 'Ki': 2 ** 10, 'Mi': 2 ** 20 }
/** An idle gateway uses about 90 MiB. */
const MIN_MEMORY_BYTES = 256 * 2 ** 20

/** Leaves out a limit that suits oauth2-proxy, but would end the gateway. */
function withEnoughMemory(value: unknown, setting: Setting, migration: Migration): unknown {
  const [, amount, unit = ''] = /^([\d.]+)([kMG]|[KM]i)?$/.exec(String(value)) ?? []
  if (amount === undefined || Number(amount) * (UNITS[unit] ?? 1) >= MIN_MEMORY_BYTES) return value
  const text = `${String(value)} is too little for Node.js, so the default of the chart applies, 384Mi`
  remark(migration, 'differs', setting, text)
  return undefined
}

const NAME_LABELS = new Set(['app', 'app.kubernetes.io/name'])

/** Replaces the labels by which oauth2-proxy's pods are selected. */
function withOwnLabels(value: unknown, setting: Setting, { remarks }: Migration): unknown {
  const adapted = mapped(value, (one) => {
    const { key, values } = one
    if (NAME_LABELS.has(String(key)) && Array.isArray(values))
      return {
        ...one,
        key: 'app.kubernetes.io/name',
        values: values.map((name: unknown) => (name === 'oauth2-proxy' ? 'gatehouse' : name)),
      }
    return Object.fromEntries(
      Object.entries(one).map(([name, inner]): [string, unknown] =>
        NAME_LABELS.has(name) && inner === 'oauth2-proxy' ? ['app.kubernetes.io/name', 'gatehouse'] : [name, inner],
      ),
    )
  })
  if (JSON.stringify(value).includes('oauth2-proxy')) {
    const text =
      'the label app.kubernetes.io/name of the pods is gatehouse: other labels are unchanged, such as ' +
      'app.kubernetes.io/instance, which is the name of the release'
    remarks.push({ grade: 'differs', setting, text })
  }
  return adapted
}

/** Replaces each mapping within a value, the outer ones first. */
function mapped(value: unknown, change: (one: Record<string, unknown>) => Record<string, unknown>): unknown {
  if (Array.isArray(value)) return value.map((item: unknown) => mapped(item, change))
  if (!isMapping(value)) return value
  return Object.fromEntries(Object.entries(change(value)).map(([name, inner]) => [name, mapped(inner, change)]))
}

/** What oauth2-proxy's chart does by default and Gatehouse's chart does not, if the first value is `true`. */
const DEFAULTS = [
  ['ingress.enabled', 'ingress.pathType', 'ImplementationSpecific'],
  ['autoscaling.enabled', 'autoscaling.minReplicas', 1],
  ['autoscaling.enabled', 'autoscaling.maxReplicas', 10],
  ['autoscaling.enabled', 'autoscaling.targetCPUUtilizationPercentage', 80],
] as const

/** Returns the values that the other chart sets by default, and that make a difference with these values. */
export function otherDefaults({ values }: Migration): (readonly [path: string, value: unknown])[] {
  const valueAt = (path: string): unknown => {
    const [top = '', name = ''] = path.split('.')
    const at = values.get(top)
    return isMapping(at) ? at[name] : undefined
  }
  const defaults = DEFAULTS.flatMap(([condition, path, value]): [string, unknown][] =>
    valueAt(condition) === true && valueAt(path) === undefined ? [[path, value]] : [],
  )
  const replicas =
    valueAt('autoscaling.enabled') === true
      ? (valueAt('autoscaling.minReplicas') ?? 1)
      : (values.get('replicaCount') ?? 1)
  const budget = valueAt('podDisruptionBudget.enabled') ?? true
  if (budget === true && Number(replicas) > 1)
    for (const [name, value] of [
      ['enabled', true],
      ['minAvailable', 1],
    ] as const) {
      const path = `podDisruptionBudget.${name}`
      const isOtherLimit = name === 'minAvailable' && valueAt('podDisruptionBudget.maxUnavailable') !== undefined
      if (valueAt(path) === undefined && !isOtherLimit) defaults.push([path, value])
    }
  return defaults
}
