import { type Migration, partAt, put, remark } from './migration.ts'
import { literal, type Setting } from './setting.ts'

const KEY = 'forwardAuth.listen'
const PORTS = ['8081', '8082', '8083']

/** Enables forward-auth, because the setting shows that a proxy uses forward-auth with the other gateway. */
export function enableForwardAuth(migration: Migration, setting: Setting): void {
  put(migration, KEY, literal(`127.0.0.1:${PORTS[0]}`), setting)
}

/** Assigns a free port to the forward-auth listener, if there is one. All other addresses must already be set. */
export function assignForwardAuthPort(migration: Migration): void {
  const part = partAt(migration, KEY)
  if (part === undefined) return
  const taken = migration.parts.filter(({ path }) => path.at(-1) === 'listen' && path[0] !== 'forwardAuth')
  const free = PORTS.find((port) => !taken.some(({ value }) => String(value).endsWith(`:${port}`))) ?? '8081'
  put(migration, KEY, literal(`127.0.0.1:${free}`))
  remark(
    migration,
    'security',
    part.from[0] ?? null,
    `a proxy that uses forward-auth (nginx auth_request, Traefik forwardAuth) gets its verdicts at http://127.0.0.1:${free}/auth, ` +
      'which browsers must not reach, because a verdict carries the access token; docs/forward-auth.md shows how to ' +
      'configure the proxy. Remove forwardAuth if no proxy uses it',
  )
}
