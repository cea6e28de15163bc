import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { findProgram } from './machine.ts'

/** What to run, on which core; stdout goes to /dev/null or is collected, stderr goes to the end of a file. */
export type Command = {
  name: string
  core: number
  program: string
  args: string[]
  env?: Record<string, string>
  collect?: boolean
  errorFile: string
}

/** A started program; `output` resolves when it ends with status 0, otherwise it rejects with the end of its stderr. */
export type Running = { name: string; pid: number; output: Promise<string>; stop(): Promise<void> }

const GRACE_MS = 5000
const living = new Set<ChildProcess>()

/** Starts a program in a process group of its own: an interrupt from the terminal reaches the benchmark alone. */
export function start(command: Command): Running {
  const errors = openSync(command.errorFile, 'a')
  const taskset = findProgram('taskset', 'util-linux')
  const child = spawn(taskset, ['-c', String(command.core), command.program, ...command.args], {
    detached: true,
    env: { ...process.env, ...command.env },
    stdio: ['ignore', command.collect ? 'pipe' : 'ignore', errors],
  })
  closeSync(errors)
  living.add(child)

  let collected = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    collected += text
  })
  const output = new Promise<string>((resolve, reject) => {
    child.once('error', (error) => {
      living.delete(child)
      reject(error)
    })
    child.once('close', (status) => {
      living.delete(child)
      if (status === 0) resolve(collected)
      else reject(new Error(`${command.name} ended with status ${status}: ${lastLines(command.errorFile)}`))
    })
  })
  output.catch(() => {})
  return { name: command.name, pid: child.pid ?? 0, output, stop: () => stop(child) }
}

/** Ends all started programs, with SIGTERM first; resolves when none is left. */
export async function stopAll(): Promise<void> {
  await Promise.all([...living].map(stop))
}

/** Kills all started programs without waiting, just before this process ends. */
export function killAll(): void {
  for (const child of living) signal(child, 'SIGKILL')
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = new Promise<void>((resolve) => {
    if (living.has(child)) child.once('close', () => resolve())
    else resolve()
  })
  if (!living.has(child)) return
  child.kill('SIGTERM')
  const patience = new AbortController()
  await Promise.race([ended, sleep(GRACE_MS, undefined, { signal: patience.signal }).catch(() => {})])
  patience.abort()
  if (living.has(child)) signal(child, 'SIGKILL')
  await ended
}

function signal(child: ChildProcess, name: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, name)
  } catch {
    // The group is gone already.
  }
}

function lastLines(file: string): string {
  return readFileSync(file, 'utf8').trim().split('\n').slice(-5).join('\n') || 'it said nothing'
}
