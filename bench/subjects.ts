import { checkResponses } from './answers.ts'
import type { Contestant } from './contestants.ts'
import type { Target } from './load.ts'
import { logIn } from './login.ts'
import type { Running } from './processes.ts'
import type { Subject } from './round.ts'
import { startAndWait } from './starts.ts'

/** The running programs of a round, the upstream first. `check` rejects if a contestant returns a wrong response. */
interface Subjects {
  readonly subjects: Subject[]
  readonly check: () => Promise<void>
  readonly stop: () => Promise<void>
}

export async function startSubjects(
  contestants: readonly Contestant[],
  upstreamPort: number,
  body: string,
  load: Pick<Target, 'core' | 'directory'>,
): Promise<Subjects> {
  const all: { contestant: Contestant; running: Running; cookie: string | null }[] = []
  for (const contestant of contestants) {
    const { running } = await startAndWait(contestant.command, contestant.port)
    all.push({ contestant, running, cookie: contestant.client ? await logIn(contestant) : null })
  }
  const check = async (): Promise<void> => {
    for (const { contestant, cookie } of all) await checkResponses(contestant, cookie, body)
  }
  await check()
  // Contestants without sessions receive the cookie of Gatehouse, because a browser sends cookies to any proxy.
  const sharedCookie = all.find(({ contestant }) => contestant.name.startsWith('gatehouse'))?.cookie ?? null
  return {
    subjects: [
      { target: { ...load, name: 'direct', port: upstreamPort, cookie: sharedCookie }, pid: null },
      ...all.map(({ contestant: { name, port }, running: { pid }, cookie }) => ({
        target: { ...load, name, port, cookie: cookie ?? sharedCookie },
        pid,
      })),
    ],
    check,
    async stop() {
      await Promise.all(all.map(async ({ running }) => running.stop()))
    },
  }
}
