import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

const root = fileURLToPath(new URL('../..', import.meta.url))

/** How a run of the program ended, and all that it has said. */
export type Ended = { readonly status: number | null, readonly signal: string | null, readonly stdout: string, readonly stderr: string }

/** A run of the program. */
export type Program = {
  readonly child: ChildProcess
  /** Resolves with the first line on stdout that matches; rejects when the program ends without one. */
  readonly line: (pattern: RegExp) => Promise<string>
  readonly ended: Promise<Ended>
}

type Environment = Readonly<Record<string, string>>

const sources = [`--import=${import.meta.resolve('tsx')}`, `${root}src/main.ts`]
const built = [`${root}dist/main.js`]

/** Starts `gatehouse` as a process of its own, from the sources or as built; it ends with the test at the latest. */
export const startProgram = (t: Test, args: readonly string[], { env = {}, from = 'sources' }: { env?: Environment, from?: 'sources' | 'built' } = {}): Program => {
  const child = spawn(process.execPath, [...(from === 'built' ? built : sources), ...args], {
    // A home for tsx, nothing else: the configuration of whoever runs the tests must not be read.
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => { child.kill('SIGKILL') })
  let stdout = ''
  let stderr = ''
  const listeners = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const listener of listeners) listener()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => { stderr += text })
  const ended = once(child, 'close').then((): Ended => ({ status: child.exitCode, signal: child.signalCode, stdout, stderr }))
  return {
    child, ended,
    line: async (pattern) => new Promise((resolve, reject) => {
      const look = (): void => {
        const found = stdout.split('\n').slice(0, -1).find((one) => pattern.test(one))
        if (found !== undefined) resolve(found)
      }
      listeners.add(look)
      look()
      void ended.then((how) => { reject(new Error(`ended with ${how.status ?? how.signal} before a line ${pattern}: ${how.stdout}${how.stderr}`)) })
    }),
  }
}

/** Runs `gatehouse` with these arguments to its end. */
export const runProgram = async (t: Test, args: readonly string[], env: Environment = {}): Promise<Ended> =>
  startProgram(t, args, { env }).ended
