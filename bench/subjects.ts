import { expectRightAnswers } from './answers.ts'
import type { Contestant } from './contestants.ts'
import type { Target } from './load.ts'
import { logIn } from './login.ts'
import type { Running } from './processes.ts'
import type { Subject } from './round.ts'
import { startAndWait } from './starts.ts'

/** What a round measures, the upstream itself first; `check` rejects when one does not answer as it should. */
type Subjects = { subjects: Subject[]; check: () => Promise<void>; stop: () => Promise<void> }

/** Starts all contestants, logs in where that is to be done and checks their answers; rejects when one does not start. */
export async function startSubjects(
  contestants: readonly Contestant[],
  upstreamPort: number,
  body: string,
  load: Pick<Target, 'core' | 'directory'>,
): Promise<Subjects> {
  const all: { it: Contestant; running: Running; cookie: string | null }[] = []
  for (const it of contestants) {
    const { running } = await startAndWait(it.command, it.port)
    all.push({ it, running, cookie: it.client ? await logIn(it) : null })
  }
  const check = async (): Promise<void> => {
    for (const { it, cookie } of all) await expectRightAnswers(it, cookie, body)
  }
  await check()
  // Contestants without sessions get the same cookie: a browser sends it to any proxy.
  const same = all.find(({ it }) => it.name.startsWith('gatehouse'))?.cookie ?? null
  return {
    subjects: [
      { target: { ...load, name: 'direct', port: upstreamPort, cookie: same }, pid: null },
      ...all.map(({ it: { name, port }, running: { pid }, cookie }) => ({
        target: { ...load, name, port, cookie: cookie ?? same },
        pid,
      })),
    ],
    check,
    async stop() {
      await Promise.all(all.map(async ({ running }) => running.stop()))
    },
  }
}
