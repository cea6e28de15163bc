import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { RUNTIME_PACKAGES } from './runtime-packages.ts'

// `npm pack` runs this script before it packs, and with --restore afterwards. In the package, package.json has as
// dependencies only what the bundle loads from node_modules, in the version of package-lock.json.

interface Manifest extends Readonly<Record<string, unknown>> {
  readonly optionalDependencies: Readonly<Record<string, string>>
}

const fromRoot = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))
const manifest = fromRoot('package.json')
// npm never packs files with this ending.
const original = fromRoot('package.json.orig')

if (existsSync(original)) renameSync(original, manifest)
if (!process.argv.includes('--restore')) {
  const text = readFileSync(manifest, 'utf8')
  writeFileSync(original, text)
  const { optionalDependencies, ...rest }: Manifest = JSON.parse(text)
  const ofCheckout = new Set(['scripts', 'devDependencies', 'overrides', 'allowScripts'])
  const packed = {
    ...Object.fromEntries(Object.entries(rest).filter(([name]) => !ofCheckout.has(name))),
    dependencies: lockedVersions(RUNTIME_PACKAGES),
    // `gatehouse demo` loads its provider from node_modules.
    optionalDependencies: lockedVersions(Object.keys(optionalDependencies)),
  }
  writeFileSync(manifest, `${JSON.stringify(packed, null, 2)}\n`)
}

function lockedVersions(names: readonly string[]): Record<string, string> {
  const { packages }: { packages: Readonly<Record<string, { readonly version: string } | undefined>> } = JSON.parse(
    readFileSync(fromRoot('package-lock.json'), 'utf8'),
  )
  return Object.fromEntries(
    names.map((name) => {
      const version = packages[`node_modules/${name}`]?.version
      if (version === undefined) throw new Error(`package-lock.json has no ${name}`)
      return [name, version]
    }),
  )
}
