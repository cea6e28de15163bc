import { firstAnswer } from './answers.ts'
import type { Contestant } from './contestants.ts'
import { type Command, type Running, start } from './processes.ts'

/** Starts and ends all contestants in turn, a number of times; resolves with the ms to each first answer, by name. */
export async function measureStarts(contestants: readonly Contestant[], times: number): Promise<Map<string, number[]>> {
  const starts = new Map<string, number[]>(contestants.map((it) => [it.name, []]))
  for (let turn = 1; turn <= times; turn++) {
    for (const it of contestants) {
      const { running, milliseconds } = await startAndWait(it.command, it.port)
      starts.get(it.name)?.push(milliseconds)
      await running.stop()
    }
  }
  return starts
}

/** A program that has answered, and the ms it took. */
export type Started = { running: Running; milliseconds: number }

/** Starts a program and waits for its first answer; rejects with what the program said when it ends before that. */
export async function startAndWait(command: Command, port: number): Promise<Started> {
  const since = performance.now()
  const running = start(command)
  const early = running.output.then(() => {
    throw new Error(`${running.name} ended before it answered`)
  })
  return { running, milliseconds: await Promise.race([firstAnswer(port, since), early]) }
}
