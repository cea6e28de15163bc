import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Test } from 'tap'
import { eventually } from './eventually.ts'

/** A proxy to start: its name, its files by name, and its arguments where these are. */
type ProxyProgram = {
  readonly name: string
  readonly files: Readonly<Record<string, string>>
  readonly args: (folder: string) => readonly string[]
}

const programOf = (name: string): string =>
  ['/usr/sbin', '/usr/bin', '/usr/local/bin'].map((folder) => join(folder, name)).find((path) => existsSync(path)) ??
  name

/**
 * Starts a real proxy with its files in a folder of its own, for which `FOLDER` stands in them; resolves when it listens
 * on `port`. It ends with the test.
 */
export const startProxyProgram = async (t: Test, port: number, { name, files, args }: ProxyProgram): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), `gatehouse-${name}-`))
  // Its workers may run as another user where it is started by root.
  chmodSync(folder, 0o711)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text.replaceAll('FOLDER', folder))
  const child = spawn(programOf(name), args(folder), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  })
  let said = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  child.on('error', (error) => {
    said += error.message
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.pid !== undefined) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const late = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(late)
    }
    rmSync(folder, { recursive: true, force: true })
  })
  await eventually(
    async () => {
      if (child.exitCode !== null || child.pid === undefined) throw new Error(`${name} has ended: ${said}`)
      const socket = connect(port, '127.0.0.1')
      try {
        await once(socket, 'connect')
        return true
      } finally {
        socket.destroy()
      }
    },
    { what: `${name} listens` },
  )
}
