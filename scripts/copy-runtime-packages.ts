import { cpSync, existsSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { RUNTIME_PACKAGES } from './runtime-packages.ts'

// Copies the files that Node.js loads from node_modules at run time to FOLDER/node_modules, with the licenses and the
// package.json of their packages. Native code is copied for this platform only.
const [folder] = process.argv.slice(2)
if (folder === undefined) throw new Error('usage: copy-runtime-packages.ts FOLDER')

const root = fileURLToPath(new URL('..', import.meta.url))
const load = createRequire(import.meta.url)
const earlier = new Set(Object.keys(load.cache))
for (const name of RUNTIME_PACKAGES) load(name)
const loaded = Object.keys(load.cache).filter((path) => !earlier.has(path))

const packages = new Set(loaded.map((path) => packageOf(dirname(path))))
for (const path of [...loaded, ...[...packages].flatMap(describedIn)]) {
  const inside = relative(root, path)
  if (!inside.startsWith('node_modules')) throw new Error(`${path} is outside of node_modules`)
  cpSync(path, join(folder, inside))
}
process.stdout.write(`${folder}: ${packages.size} packages\n`)

/** Returns the folder of the package that contains `path`. */
function packageOf(path: string): string {
  return existsSync(join(path, 'package.json')) ? path : packageOf(dirname(path))
}

function describedIn(path: string): string[] {
  return readdirSync(path)
    .filter((name) => /^(package\.json|licen[cs]e(\..*)?|notice(\..*)?)$/i.test(name))
    .map((name) => join(path, name))
}
