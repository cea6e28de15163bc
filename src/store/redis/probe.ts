import { randomBytes } from 'node:crypto'
import type { Config } from '../../config/schema.ts'
import type { StoreLocation } from '../../config/value-types/store.ts'
import { connectTo, type Connections } from './connections.ts'
import { expectPermissions } from './permissions.ts'

export interface RedisProbe {
  /** The product and version, such as `Redis 7.2.4`, or `null` if the gateway may not ask for it. */
  readonly server: string | null
  /** Whether the version is known and older than the gateway requires. */
  readonly isOld: boolean
  readonly masters: number
  readonly evictionPolicy: string | null
}

const CHANNEL = 'gatehouse:notices:check'
const KEY_AGE_MS = 10_000

/** The first versions with the commands that the gateway uses. Valkey also reports the version of Redis it is like. */
const MIN_VERSION = [6, 2] as const

/**
 * Connects to Redis like the gateway, tries all commands that the gateway needs, and writes, reads and deletes a key.
 * Rejects with the error of Redis or the network.
 */
export async function probeRedis(
  location: Exclude<StoreLocation, { kind: 'memory' }>,
  settings: Config['session']['redis'],
): Promise<RedisProbe> {
  // A command on a connection that fails rejects by itself.
  const connections = await connectTo(location, settings)(() => {})
  try {
    return await useConnections(connections)
  } finally {
    connections.close()
  }
}

async function useConnections(connections: Connections): Promise<RedisProbe> {
  await Promise.all([connections.subscribe([CHANNEL], () => {}), expectPermissions(connections, CHANNEL)])
  const [key, value] = [`gatehouse:check:${random()}`, random()]
  await connections.command(key, ['SET', key, value, 'PX', String(KEY_AGE_MS)])
  const read = String(await connections.command(key, ['GET', key]))
  await connections.command(key, ['DEL', key])
  if (read !== value) throw new Error('Redis returns another value than the one that was written')
  // The documented permissions of the gateway do not include INFO.
  const info = await connections.command(key, ['INFO']).then(String, () => '')
  const version = memberOf(info, 'redis_version')
  const valkey = memberOf(info, 'valkey_version')
  return {
    server: valkey !== null ? `Valkey ${valkey}` : version === null ? null : `Redis ${version}`,
    isOld: version !== null && isOlder(version),
    masters: connections.masters().length,
    evictionPolicy: memberOf(info, 'maxmemory_policy'),
  }
}

function random(): string {
  return randomBytes(12).toString('base64url')
}

function memberOf(info: string, name: string): string | null {
  const line = info.split(/\r?\n/).find((one) => one.startsWith(`${name}:`))
  return line?.slice(name.length + 1) ?? null
}

function isOlder(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [minMajor, minMinor] = MIN_VERSION
  return major < minMajor || (major === minMajor && minor < minMinor)
}
