import { createClient } from '@keyv/redis'
import { at, destroy, hostOf, portOf, readyInTime, type ClientOptions } from './redis-client.ts'

/** Asks one sentinel after another; they may, but need not, want the same user and password as Redis itself. */
export async function findMaster(
  sentinels: readonly URL[],
  name: string,
  options: ClientOptions,
  credentials: ClientOptions,
): Promise<{ host: string; port: number }> {
  const problems: string[] = []
  for (const url of sentinels) {
    for (const login of [{}, credentials]) {
      const client = createClient(at({ ...options, ...login }, hostOf(url), portOf(url, 26_379))).on('error', () => {})
      try {
        await readyInTime(client.connect())
        const reply = await readyInTime(client.sendCommand(['SENTINEL', 'get-master-addr-by-name', name]))
        if (Array.isArray(reply)) return { host: String(reply[0]), port: Number(reply[1]) }
        problems.push(`${url.host} knows no master of the name ${name}`)
        break
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error)
        if (login !== credentials && message.startsWith('NOAUTH')) continue
        problems.push(`${url.host}: ${message}`)
        break
      } finally {
        destroy(client)
      }
    }
  }
  throw new Error(`no sentinel could name the master: ${problems.join('; ')}`)
}
