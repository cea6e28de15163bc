import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const FROM = fileURLToPath(new URL('../src/browser/', import.meta.url))
const TO = fileURLToPath(new URL('../dist/browser/', import.meta.url))
const MOST_BYTES = 4096

mkdirSync(TO, { recursive: true })
copyFileSync(`${FROM}client-types.d.ts`, `${TO}client.d.ts`)
for (const [name, format] of [
  ['client', 'esm'],
  ['auto', 'iife'],
] as const) {
  const { outputFiles } = await build({
    entryPoints: [`${FROM}${name}.ts`],
    bundle: true,
    minify: true,
    format,
    target: 'es2022',
    write: false,
    legalComments: 'none',
  })
  const text = outputFiles[0]?.text ?? ''
  const size = gzipSync(text).length
  if (size > MOST_BYTES) throw new Error(`${name}.js has ${size} bytes compressed; ${MOST_BYTES} are allowed`)
  writeFileSync(`${TO}${name}.js`, text)
  process.stdout.write(`dist/browser/${name}.js ${size} bytes compressed\n`)
}
