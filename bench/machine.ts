import { accessSync, constants, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { delimiter, join } from 'node:path'
import { spawnSync } from 'node:child_process'

/** The two cores a benchmark uses, by the kernel's numbers: one for the gateway, one for load and upstream. */
export type Cores = { gateway: number; load: number }

/** Picks two cores that this process may use, not two threads of one where there is a choice; throws for less. */
export function pickCores(): Cores {
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  const [gateway, ...others] = expandList(allowed ?? '')
  if (gateway === undefined || others[0] === undefined) {
    throw new Error('The benchmark needs two cores, one for the gateway and one for the load: give it another.')
  }
  const siblings = new Set(threadSiblings(gateway))
  return { gateway, load: others.find((core) => !siblings.has(core)) ?? others[0] }
}

/** Moves this process, its threads and what it starts from now on to one core. */
export function pinSelf(core: number): void {
  const taskset = findProgram('taskset', 'util-linux')
  const { status } = spawnSync(taskset, ['-apc', String(core), String(process.pid)], { stdio: 'ignore' })
  if (status !== 0) throw new Error(`taskset could not move the benchmark to core ${core}.`)
}

/** The path of an installed program; throws an Error that names the Debian package to install. */
export function findProgram(name: string, debianPackage: string): string {
  for (const directory of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin']) {
    const path = join(directory, name)
    if (isThere(path, constants.X_OK)) return path
  }
  throw new Error(missing(name, debianPackage))
}

/** Throws an Error that names the Debian package to install when the file is not there. */
export function expectFile(path: string, debianPackage: string): void {
  if (!isThere(path, constants.R_OK)) throw new Error(missing(path, debianPackage))
}

/** One line about the machine and the Node.js under test, for the head of a result. */
export function describeMachine(node: string): string {
  const processors = cpus()
  const model = (processors[0]?.model ?? '').trim() || 'unknown processor'
  return `${model}, ${processors.length} cores, Node ${versionOf(node)}`
}

function versionOf(node: string): string {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${node} is not a Node.js that runs here.`)
  return stdout.trim()
}

function missing(what: string, debianPackage: string): string {
  return `${what} is not installed: apt-get install ${debianPackage}`
}

function isThere(path: string, mode: number): boolean {
  try {
    accessSync(path, mode)
    return true
  } catch {
    return false
  }
}

function threadSiblings(core: number): number[] {
  try {
    return expandList(readFileSync(`/sys/devices/system/cpu/cpu${core}/topology/thread_siblings_list`, 'utf8').trim())
  } catch {
    return []
  }
}

function expandList(list: string): number[] {
  return list
    .split(',')
    .filter(Boolean)
    .flatMap((range) => {
      const [first = 0, last = first] = range.split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, index) => first + index)
    })
}
