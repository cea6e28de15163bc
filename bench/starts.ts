import { firstAnswer } from './answers.ts'
import type { Contestant } from './contestants.ts'
import { type Command, type Running, start } from './processes.ts'

/** Starts and stops all contestants in turn, `times` times. Returns the ms until each first response, by contestant. */
export async function measureStarts(contestants: readonly Contestant[], times: number): Promise<Map<string, number[]>> {
  const starts = new Map<string, number[]>(contestants.map(({ name }) => [name, []]))
  for (let turn = 1; turn <= times; turn++) {
    for (const { name, command, port } of contestants) {
      const { running, milliseconds } = await startAndWait(command, port)
      starts.get(name)?.push(milliseconds)
      await running.stop()
    }
  }
  return starts
}

/** A program that answers requests, and the ms until its first response. */
export interface Started {
  readonly running: Running
  readonly milliseconds: number
}

/** Starts a program and waits for its first response. Rejects with the program's error output if it exits first. */
export async function startAndWait(command: Command, port: number): Promise<Started> {
  const since = performance.now()
  const running = start(command)
  const exitedEarly = running.output.then(() => {
    throw new Error(`${running.name} exited before it answered`)
  })
  return { running, milliseconds: await Promise.race([firstAnswer(port, since), exitedEarly]) }
}
