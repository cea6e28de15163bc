import { statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { Listen } from '../config/schema.ts'

/**
 * Does what it takes to listen at the address that is the value of `key`. Rejects with an error that names the key and
 * says what to write instead.
 */
export async function listening<T>(key: string, where: Listen, listen: () => Promise<T>): Promise<T> {
  try {
    return await listen()
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : ''
    throw new Error(`${key}: ${'path' in where ? aboutSocket(code, where.path) : aboutPort(code, where)}`, { cause })
  }
}

function aboutPort(code: string, { host, port }: { host: string; port: number }): string {
  switch (code) {
    case 'EADDRINUSE':
      return `port ${port} is taken; write another one, or stop what listens there`
    case 'EACCES':
      return `port ${port} is not allowed; write one from 1024 up, or give the process CAP_NET_BIND_SERVICE`
    case 'EADDRNOTAVAIL':
      return `this machine has no address ${host}; write one that it has, or 0.0.0.0 for all`
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `${host} has no address; write an IP address, or 0.0.0.0 for all`
    default:
      return `can't listen on ${host} port ${port}`
  }
}

function aboutSocket(code: string, path: string): string {
  // For a directory that is missing libuv says EACCES.
  const found = statSync(dirname(path), { throwIfNoEntry: false })?.isDirectory() === true ? code : 'ENOENT'
  switch (found) {
    case 'EADDRINUSE':
      return `${path} is taken; write another path, or stop what listens there`
    case 'ENOENT':
      return `there is no directory for ${path}; make it, or write another path`
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `${path} can't be made there; write a path in a directory that this user may write to`
    default:
      return `can't listen on ${path}`
  }
}
