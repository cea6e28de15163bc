import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import type { Config, Listen } from '../config/schema.ts'

/** Calls `listen` for the address in the key `key`. Rejects with an error that names the key and a remedy. */
export async function explainListenErrors<T>(key: string, address: Listen, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen()
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    const message = 'path' in address ? socketMessage(code, address.path) : portMessage(code, address)
    throw new Error(`${key}: ${message}`, { cause })
  }
}

function portMessage(code: string, { host, port }: { host: string; port: number }): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is taken; choose another one, or stop the program that listens there`
    case 'EACCES':
      return `port ${port} is not allowed; choose one from 1024 up, or give the process CAP_NET_BIND_SERVICE`
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${host}; choose one that it has, or 0.0.0.0 for all`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${host} has no address; choose an IP address, or 0.0.0.0 for all`
    default:
      return `can't listen on ${host} port ${port}`
  }
}

function socketMessage(code: string, path: string): string {
  // libuv reports EACCES for a directory that does not exist.
  const found = statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true ? code : 'ENOENT'
  switch (found) {
    case 'EADDRINUSE':
      return `${path} is taken; choose another path, or stop the program that listens there`
    case 'ENOENT':
      return `there is no directory for ${path}; create it, or choose another path`
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `${path} can't be created; choose a path in a directory that this user may write to`
    default:
      return `can't listen on ${path}`
  }
}

export async function removeStaleSockets({ listen, admin, forwardAuth, tls }: Config): Promise<void> {
  const all = {
    'listen': listen,
    'admin.listen': admin?.listen,
    'forwardAuth.listen': forwardAuth?.listen,
    'tls.redirectFrom': tls?.redirectFrom,
  }
  for (const [key, address] of Object.entries(all))
    if (address !== undefined && address !== null)
      await explainListenErrors(key, address, async () => removeStaleSocket(address))
}

/** Removes a Unix socket that accepts no connections. */
async function removeStaleSocket(address: Listen): Promise<void> {
  if (!('path' in address) || statSync(address.path, { throwIfNoEntry: false })?.isSocket() !== true) return
  const socket = connect(address.path)
  const isInUse = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  if (!isInUse) rmSync(address.path, { force: true })
}
