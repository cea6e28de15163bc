import { readFileSync, readdirSync } from 'node:fs'

/** Clock ticks per second in /proc: Linux reports 100 to user space on every architecture that Node.js supports. */
const TICKS_PER_SECOND = 100
const PAGE_BYTES = 4096

export function processTree(root: number): number[] {
  const children = new Map<number, number[]>()
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const pid = Number(entry)
    const parent = Number(statFields(pid)[1])
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  return tree
}

/** Returns the CPU time of a process and its descendants in µs, including descendants that have ended. */
export function cpuTime(root: number): number {
  let ticks = 0
  for (const pid of processTree(root)) {
    for (const field of statFields(pid).slice(11, 15)) ticks += Number(field)
  }
  return ticks * (1_000_000 / TICKS_PER_SECOND)
}

/** Returns the resident memory of these processes in bytes. Shared memory counts once for each process. */
export function residentMemory(pids: readonly number[]): number {
  return pids.reduce((sum, pid) => sum + Number(readProc(pid, 'statm').split(' ')[1] ?? 0) * PAGE_BYTES, 0)
}

/**
 * Starts measuring the CPU time that other programs use on these cores. The returned function returns it as a share of one
 * core.
 */
export function watchOtherPrograms(cores: readonly number[]): () => number {
  const othersTime = (): number => busyTime(cores) - cpuTime(process.pid)
  const since = performance.now()
  const before = othersTime()
  return () => Math.max(0, othersTime() - before) / (1000 * (performance.now() - since))
}

// Columns of /proc/stat: user, nice, system, idle, iowait, irq, softirq. The last one includes network processing.
function busyTime(cores: readonly number[]): number {
  const lines = readFileSync('/proc/stat', 'utf8').split('\n')
  const ticks = cores.flatMap((core) => {
    const columns =
      lines
        .find((line) => line.startsWith(`cpu${core} `))
        ?.split(' ')
        .slice(1)
        .map(Number) ?? []
    return [...columns.slice(0, 3), ...columns.slice(5, 7)]
  })
  return ticks.reduce((sum, value) => sum + value, 0) * (1_000_000 / TICKS_PER_SECOND)
}

// Returns the fields of /proc/PID/stat from the third on. The second, the program's name, may contain spaces and parentheses.
function statFields(pid: number): string[] {
  const text = readProc(pid, 'stat')
  return text.slice(text.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // The process has ended in the meantime.
    return ''
  }
}
