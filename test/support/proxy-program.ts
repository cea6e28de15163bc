import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'
import { eventually } from './eventually.ts'

type ProxyProgram = {
  readonly name: string
  readonly files: Readonly<Record<string, string>>
  readonly args: (folder: string) => readonly string[]
}

const fromPyPI = fileURLToPath(new URL('../../node_modules/.cache/python/bin', import.meta.url))

const programOf = (name: string): string =>
  [fromPyPI, '/usr/sbin', '/usr/bin', '/usr/local/bin']
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path)) ?? name

/**
 * Starts a real proxy with its files in a new folder, whose path replaces `FOLDER` in the files. Resolves when the proxy
 * listens on `port`. It ends with the test.
 */
export const startProxyProgram = async (t: Test, port: number, { name, files, args }: ProxyProgram): Promise<void> => {
  const folder = mkdtempSync(join(tmpdir(), `gatehouse-${name}-`))
  // A proxy that root starts may run its workers as another user.
  chmodSync(folder, 0o711)
  for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, file), text.replaceAll('FOLDER', folder))
  const child = spawn(programOf(name), args(folder), {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder },
  })
  let output = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    output += text
  })
  child.on('error', (error) => {
    output += error.message
  })
  t.teardown(async () => {
    if (child.exitCode === null && child.pid !== undefined) {
      const ended = once(child, 'exit')
      child.kill('SIGTERM')
      const killTimer = setTimeout(() => child.kill('SIGKILL'), 5_000)
      await ended
      clearTimeout(killTimer)
    }
    rmSync(folder, { recursive: true, force: true })
  })
  const ended = new Promise<never>((_resolve, reject) => {
    child.once('close', () => {
      reject(new Error(`${name} has ended: ${output}`))
    })
  })
  // After the start, the end of the program is no error.
  ended.catch(() => {})
  await Promise.race([
    ended,
    eventually(
      async () => {
        const socket = connect(port, '127.0.0.1')
        try {
          await once(socket, 'connect')
          return true
        } finally {
          socket.destroy()
        }
      },
      { what: `${name} listens` },
    ),
  ])
}
