import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'
import { RUNTIME_PACKAGES } from './runtime-packages.ts'

const fromRoot = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

// Modules that libraries load at every start for features that the gateway does not use: JSON Schemas of routes,
// WebSockets in @fastify/http-proxy, and undici's mocks, event sources and cache.
const UNUSED = new RegExp(
  `/node_modules/(${[
    '@fastify/ajv-compiler/index',
    '@fastify/fast-json-stringify-compiler/index',
    'ws/(index|wrapper)',
    'undici/lib/(mock|web/eventsource|web/websocket/stream)/.*',
    'undici/lib/cache/sqlite-cache-store',
  ].join('|')})\\.m?js$`,
)

const omitUnused: Plugin = {
  name: 'omit unused modules',
  setup(bundling) {
    bundling.onLoad({ filter: UNUSED }, ({ path }) => {
      const name = path.replace(/^.*\/node_modules\//, '')
      return {
        contents:
          `module.exports = () => () => { throw new Error('${name} is not part of the built program: ` +
          `see scripts/build.ts') }`,
      }
    })
  },
}

for (const stale of ['chunks', 'compiled']) rmSync(fromRoot(`dist/${stale}`), { recursive: true, force: true })

await build({
  absWorkingDir: fromRoot('.'),
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  // main.js contains the code that every start needs. Chunks contain the code of single commands and stores.
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  plugins: [omitUnused],
  // `gatehouse demo` loads its provider from node_modules.
  external: [...RUNTIME_PACKAGES, 'oidc-provider'],
  // CommonJS libraries load the modules of Node.js with `require`.
  banner: { js: "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)" },
  // A smaller file starts faster. Identifiers keep their names for stack traces; --enable-source-maps adds file and line.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 200,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
})
