import { accessSync, constants, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { delimiter, join } from 'node:path'
import { spawnSync } from 'node:child_process'

export interface Cores {
  readonly gateway: number
  readonly load: number
}

/** Picks two cores that this process may use, if possible not two threads of one core. Throws if there is only one. */
export function pickCores(): Cores {
  const allowed = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]
  const [gateway, ...others] = expandList(allowed ?? '')
  if (gateway === undefined || others[0] === undefined) {
    throw new Error('the benchmark needs two cores: one for the gateway and one for the load')
  }
  const siblings = new Set(threadSiblings(gateway))
  return { gateway, load: others.find((core) => !siblings.has(core)) ?? others[0] }
}

/** Pins this process, its threads and its future child processes to one core. */
export function pinSelf(core: number): void {
  const taskset = findProgram('taskset', 'util-linux')
  const { status } = spawnSync(taskset, ['-apc', String(core), String(process.pid)], { stdio: 'ignore' })
  if (status !== 0) throw new Error(`taskset could not pin the benchmark to core ${core}`)
}

/** Returns the path of an installed program. Throws an error that names the Debian package if the program is missing. */
export function findProgram(name: string, debianPackage: string): string {
  for (const directory of [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/usr/bin']) {
    const path = join(directory, name)
    if (isAccessible(path, constants.X_OK)) return path
  }
  throw new Error(missing(name, debianPackage))
}

/** Throws an error that names the Debian package if the file is missing. */
export function checkFile(path: string, debianPackage: string): void {
  if (!isAccessible(path, constants.R_OK)) throw new Error(missing(path, debianPackage))
}

export function describeMachine(node: string): string {
  const processors = cpus()
  const model = (processors[0]?.model ?? '').trim() || 'unknown processor'
  return `${model}, ${processors.length} cores, Node ${versionOf(node)}`
}

function versionOf(node: string): string {
  const { status, stdout } = spawnSync(node, ['--version'], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`${node} is not a Node.js that runs on this machine`)
  return stdout.trim()
}

function missing(subject: string, debianPackage: string): string {
  return `${subject} is not installed: apt-get install ${debianPackage}`
}

function isAccessible(path: string, mode: number): boolean {
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
