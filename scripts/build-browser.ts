import { mkdirSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const FROM = fileURLToPath(new URL('../src/browser/', import.meta.url))
const TO = fileURLToPath(new URL('../dist/browser/', import.meta.url))
const MOST_BYTES = 4096

/** The types of `client.js`; what is written here must fit `src/browser/client.ts`, which the type check of the tests shows. */
const TYPES = `export type SessionInfo = {
  readonly session: {
    readonly created_at: string
    readonly ends_at: string
    readonly timeout_at: string | null
    readonly ends_in_seconds: number
    readonly timeout_in_seconds: number
    readonly active: boolean
  }
  readonly tokens: {
    readonly expire_at: string | null
    readonly expire_in_seconds: number
    readonly refreshed_at: string
    readonly next_auto_refresh_in_seconds: number
    readonly refresh_cooldown: boolean
    readonly refresh_cooldown_seconds: number
    readonly refreshable: boolean
    readonly last_refresh_error: string | null
  }
}
export type Expiring = { readonly seconds: number, readonly extend: () => Promise<boolean> }
/** Like window.fetch; when a login is needed it gets one, then repeats the request with its body. */
declare const gatehouseFetch: typeof globalThis.fetch
export { gatehouseFetch as fetch }
/** What GET session says, or null without a session. */
export declare const session: () => Promise<SessionInfo | null>
/** Leaves for the login and comes back to this page. */
export declare const login: () => void
/** Ends the session, in all tabs and at the provider. */
export declare const logout: () => void
/** Calls back before the session ends; returns how to stop. */
export declare const onExpiring: (listener: (expiring: Expiring) => void) => () => void
`

mkdirSync(TO, { recursive: true })
writeFileSync(`${TO}client.d.ts`, TYPES)
for (const [name, format] of [['client', 'esm'], ['auto', 'iife']] as const) {
  const { outputFiles } = await build({
    entryPoints: [`${FROM}${name}.ts`], bundle: true, minify: true, format, target: 'es2022', write: false, legalComments: 'none',
  })
  const text = outputFiles[0]?.text ?? ''
  const size = gzipSync(text).length
  if (size > MOST_BYTES) throw new Error(`${name}.js has ${size} bytes compressed; ${MOST_BYTES} are allowed`)
  writeFileSync(`${TO}${name}.js`, text)
  process.stdout.write(`dist/browser/${name}.js ${size} bytes compressed\n`)
}
