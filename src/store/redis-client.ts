import type { RedisClientOptions } from '@keyv/redis'
import { withoutBrackets } from '../config/without-brackets.ts'
import { inTime } from './in-time.ts'

/** How a client of the library's is made. */
export type ClientOptions = RedisClientOptions

/** For the connection and for what is said first on it (TLS, AUTH, SELECT), ms. */
const READY_TIMEOUT = 5_000

/** The host of a URL as sockets want it. */
export function hostOf({ hostname }: URL): string {
  return withoutBrackets(hostname)
}

/** The port of a URL, or the usual one. */
export function portOf({ port }: URL, usual: number): number {
  return port === '' ? usual : Number(port)
}

/** The same options for one host. */
export function at(options: ClientOptions, host: string, port: number): ClientOptions {
  return { ...options, socket: { ...options.socket, host, port } }
}

/** The same options for sockets that are destroyed when `signal` aborts. */
export function endingWith(signal: AbortSignal, options: ClientOptions): ClientOptions {
  // Node.js takes it for a TLS socket, too; the library's types know it for plain ones only.
  const more = { signal }
  return { ...options, socket: { ...options.socket, ...more } }
}

/** Closes a client unless it is closed already. */
export function destroy(client: { readonly isOpen: boolean; destroy(): void } | undefined): void {
  if (client?.isOpen === true) client.destroy()
}

/** Rejects when Redis does not answer what is said first on a connection. */
export async function readyInTime<T>(work: Promise<T>): Promise<T> {
  return inTime(work, READY_TIMEOUT, () => new Error(`Redis did not answer within ${READY_TIMEOUT} ms`))
}
