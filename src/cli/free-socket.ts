import { once } from 'node:events'
import { rmSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import type { Listen } from '../config/schema.ts'

/**
 * Removes a Unix socket that a killed process has left behind, so that it can be listened on; one that answers stays.
 */
export async function freeSocket(where: Listen): Promise<void> {
  if (!('path' in where) || statSync(where.path, { throwIfNoEntry: false })?.isSocket() !== true) return
  const socket = connect(where.path)
  const answers = await once(socket, 'connect').then(
    () => true,
    () => false,
  )
  socket.destroy()
  if (!answers) rmSync(where.path, { force: true })
}
