import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { findProgram } from './machine.ts'

/** A program to run, and the core to run it on. Its stdout is discarded unless `collect` is true. Its stderr is appended to a file. */
export interface Command {
  readonly name: string
  readonly core: number
  readonly program: string
  readonly args: string[]
  readonly env?: Record<string, string>
  readonly collect?: boolean
  readonly errorFile: string
}

/** A running program. `output` resolves with its stdout if it exits with status 0; otherwise it rejects with the end of its stderr. */
export interface Running {
  readonly name: string
  readonly pid: number
  readonly output: Promise<string>
  stop(): Promise<void>
}

const GRACE_MS = 5000
const children = new Set<ChildProcess>()

/** Starts a program in a new process group, so that an interrupt from the terminal reaches only the benchmark. */
export function start(command: Command): Running {
  const errors = openSync(command.errorFile, 'a')
  const taskset = findProgram('taskset', 'util-linux')
  const child = spawn(taskset, ['-c', String(command.core), command.program, ...command.args], {
    detached: true,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', command.collect ? 'pipe' : 'ignore', errors],
  })
  closeSync(errors)
  children.add(child)

  let collected = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    collected += text
  })
  const output = new Promise<string>((resolve, reject) => {
    child.once('error', (error) => {
      children.delete(child)
      reject(error)
    })
    child.once('close', (status) => {
      children.delete(child)
      if (status === 0) resolve(collected)
      else reject(new Error(`${command.name} ended with status ${status}: ${lastLines(command.errorFile)}`))
    })
  })
  output.catch(() => {})
  return { name: command.name, pid: child.pid ?? 0, output, stop: () => stop(child) }
}

export async function stopAll(): Promise<void> {
  await Promise.all([...children].map(stop))
}

/** Kills all running programs without waiting for them. For use just before this process exits. */
export function killAll(): void {
  for (const child of children) signal(child, 'SIGKILL')
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (children.has(child)) child.once('close', () => resolve())
    else resolve()
  })
  if (!children.has(child)) return
  child.kill('SIGTERM')
  const grace = new AbortController()
  await Promise.race([ended, sleep(GRACE_MS, undefined, { signal: grace.signal }).catch(() => {})])
  grace.abort()
  if (children.has(child)) signal(child, 'SIGKILL')
  await ended
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, name)
  } catch {
    // The process group has already ended.
  }
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n') || 'no output on stderr'
}
