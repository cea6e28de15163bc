import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))

export type Ended = {
  readonly status: number | null
  readonly signal: string | null
  readonly stdout: string
  readonly stderr: string
}

export type Program = {
  readonly child: ChildProcess
  /** Resolves with the first line on stdout that matches. Rejects if the program ends without one. */
  readonly line: (pattern: RegExp) => Promise<string>
  readonly ended: Promise<Ended>
}

type Environment = Readonly<Record<string, string>>

export const builtProgram = join(root, 'dist/main.js')

const builtAt = statSync(builtProgram, { throwIfNoEntry: false })?.mtimeMs ?? 0
const changedAt = Math.max(
  ...readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' }).map(
    (name) => statSync(join(root, 'src', name)).mtimeMs,
  ),
)
if (builtAt < changedAt)
  throw new Error('these tests run the program in dist/, which is older than src/: run npm run build')

/**
 * Starts the built `gatehouse` in its own process, which ends with the test at the latest. `flags` are those of Node.js.
 */
export const startProgram = (
  t: Test,
  args: readonly string[],
  env: Environment = {},
  flags: readonly string[] = [],
): Program => {
  // The program gets none of the tests' environment: it may contain a configuration, and tap would load itself into
  // every Node.js process.
  const command = ['-i', ...Object.entries(env).map(([name, value]) => `${name}=${value}`), process.execPath, ...flags]
  const child = spawn('/usr/bin/env', [...command, builtProgram, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let stdout = ''
  let stderr = ''
  const listeners = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const listener of listeners) listener()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = once(child, 'close').then((): Ended => ({
    status: child.exitCode,
    signal: child.signalCode,
    stdout,
    stderr,
  }))
  return {
    child,
    ended,
    line: async (pattern) => {
      const matched = new Promise<string>((resolve) => {
        const check = (): void => {
          const found = stdout
            .split('\n')
            .slice(0, -1)
            .find((one) => pattern.test(one))
          if (found !== undefined) resolve(found)
        }
        listeners.add(check)
        check()
      })
      const line = await Promise.race([matched, ended])
      if (typeof line === 'string') return line
      throw new Error(`ended with ${line.status ?? line.signal} before a line ${pattern}: ${line.stdout}${line.stderr}`)
    },
  }
}

export const runProgram = async (t: Test, args: readonly string[], env: Environment = {}): Promise<Ended> =>
  startProgram(t, args, env).ended
