import { rmSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { build, type Plugin } from 'esbuild'

const at = (path: string): string => fileURLToPath(new URL(`../${path}`, import.meta.url))

// What libraries load at every start for uses that are not ours: schemas of routes, upgrades by
// @fastify/http-proxy, and undici's stand-ins for tests, and event sources.
const UNUSED = new RegExp(
  `/node_modules/(${[
    '@fastify/ajv-compiler/index',
    '@fastify/fast-json-stringify-compiler/index',
    'ws/(index|wrapper)',
    'undici/lib/(mock|web/eventsource|web/websocket/stream)/.*',
    'undici/lib/cache/sqlite-cache-store',
  ].join('|')})\\.m?js$`,
)

const leaveOut: Plugin = {
  name: 'leave out',
  setup(bundling) {
    bundling.onLoad({ filter: UNUSED }, ({ path }) => {
      const name = path.replace(/^.*\/node_modules\//, '')
      return {
        contents:
          `module.exports = () => () => { throw new Error('${name} is not in the built program: ` +
          `scripts/build.ts') }`,
      }
    })
  },
}

for (const stale of ['chunks', 'compiled']) rmSync(at(`dist/${stale}`), { recursive: true, force: true })

await build({
  absWorkingDir: at('.'),
  entryPoints: ['src/main.ts'],
  outdir: 'dist',
  // One file for what every start needs, chunks for what only some do.
  bundle: true,
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  plugins: [leaveOut],
  // Native code, what only `gatehouse demo` needs, and tracing, which is loaded when its variables ask for it.
  external: [
    'sodium-native',
    'oidc-provider',
    '@opentelemetry/core',
    '@opentelemetry/exporter-*',
    '@opentelemetry/resources',
    '@opentelemetry/sdk-*',
  ],
  // Libraries that are CommonJS ask for Node's own modules by `require`.
  banner: { js: "import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)" },
  // Less to read at each start. Names stay as they are, for stack traces; --enable-source-maps brings files and lines,
  // too.
  minifyWhitespace: true,
  minifySyntax: true,
  lineLimit: 200,
  sourcemap: 'linked',
  sourcesContent: false,
  legalComments: 'none',
  logLevel: 'warning',
})
