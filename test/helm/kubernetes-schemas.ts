import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Manifest } from './helm.ts'

type Model = new (manifest: Manifest) => { validate(): void }

const modules = fileURLToPath(new URL('../../node_modules', import.meta.url))
const packages: Readonly<Record<string, string>> = {
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
}

const moduleOf = ({ apiVersion }: Manifest): string =>
  `${packages[apiVersion.split('/')[0] ?? ''] ?? 'kubernetes-models'}/${apiVersion}`

/**
 * Returns the errors of Kubernetes objects by the schemas that Kubernetes, the Gateway API and the Prometheus operator
 * publish. The schemas refuse wrong values, and their TypeScript types refuse unknown fields.
 */
export const mistakesIn = async (manifests: readonly Manifest[]): Promise<string[]> => [
  ...(await wrongValues(manifests)),
  ...(await unknownFields(manifests)),
]

async function wrongValues(manifests: readonly Manifest[]): Promise<string[]> {
  const mistakes: string[] = []
  for (const manifest of manifests) {
    const { [manifest.kind]: Kind } = (await import(moduleOf(manifest))) as Record<string, Model>
    if (Kind === undefined) throw new Error(`no schema for ${manifest.apiVersion} ${manifest.kind}`)
    try {
      new Kind(manifest).validate()
    } catch (error) {
      mistakes.push(`${manifest.kind} ${manifest.metadata.name}: ${String(error)}`)
    }
  }
  return mistakes
}

async function unknownFields(manifests: readonly Manifest[]): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-manifests-'))
  try {
    symlinkSync(modules, join(folder, 'node_modules'))
    writeFileSync(
      join(folder, 'manifests.ts'),
      manifests
        .map((manifest, index) =>
          [
            `import type { I${manifest.kind} as Kind${index} } from '${moduleOf(manifest)}'`,
            `export const manifest${index}: Kind${index} = ${JSON.stringify(manifest, null, 1)}`,
          ].join('\n'),
        )
        .join('\n'),
    )
    const options = [
      '--noEmit',
      '--strict',
      '--skipLibCheck',
      '--module',
      'NodeNext',
      '--moduleResolution',
      'NodeNext',
      '--target',
      'ES2023',
      '--types',
      '',
    ]
    // Without what tap adds to every Node.js that a test starts: the compiler does not start with it.
    await promisify(execFile)(
      'env',
      ['-u', 'NODE_OPTIONS', join(modules, 'typescript/bin/tsc'), ...options, 'manifests.ts'],
      { cwd: folder },
    )
    return []
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    return `${stdout}${stderr}`.trim().split('\n')
  } finally {
    rmSync(folder, { recursive: true })
  }
}
