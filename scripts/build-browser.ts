import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const fromRoot = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

const FROM = fromRoot('src/browser/')
const TO = fromRoot('dist/browser/')
const MAX_BYTES = 4096

/** Returns the types of client.js as one file: the declarations of `client.ts` and of the types that it exports. */
function clientTypes(): string {
  const folder = mkdtempSync(join(tmpdir(), 'gatehouse-types-'))
  try {
    execFileSync(
      process.execPath,
      [
        fromRoot('node_modules/typescript/bin/tsc'),
        '-p',
        FROM,
        '--noEmit',
        'false',
        '--declaration',
        '--emitDeclarationOnly',
        '--outDir',
        folder,
      ],
      { stdio: 'inherit' },
    )
    const [types = '', client = ''] = ['types', 'client'].map((name) =>
      readFileSync(join(folder, `${name}.d.ts`), 'utf8'),
    )
    return types + client.replace(/^(?:import|export) type \{.*\} from '\.\/types\.ts';\n/gm, '')
  } finally {
    rmSync(folder, { recursive: true })
  }
}

mkdirSync(TO, { recursive: true })
writeFileSync(`${TO}client.d.ts`, clientTypes())
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
  if (size > MAX_BYTES) throw new Error(`${name}.js has ${size} bytes compressed; ${MAX_BYTES} are allowed`)
  writeFileSync(`${TO}${name}.js`, text)
  process.stdout.write(`dist/browser/${name}.js ${size} bytes compressed\n`)
}
