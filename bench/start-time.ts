import { spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startIdp } from '../src/demo/idp.ts'
import { describeMachine } from './machine.ts'
import { freePorts } from './ports.ts'
import { start, type Running } from './processes.ts'
import { median } from './statistics.ts'

/** What one start took, ms from its spawn to the first 200 of /readyz. */
type Starts = Readonly<Record<'unbundled' | 'built', number[]>>

/** At most this part of the unbundled program's time. */
const PROMISE = 0.5
const LIMIT_MS = 20_000
const project = fileURLToPath(new URL('..', import.meta.url))

/**
 * Starts the built program and the same source compiled file by file, in turn, against the demo's provider. Resolves
 * with what is to be printed, and whether the promise is kept.
 */
export async function compareStarts(
  times: number,
  directory: string,
  core: number,
): Promise<{ report: string; kept: boolean }> {
  compileUnbundled()
  const idp = await startIdp()
  const starts: Starts = { unbundled: [], built: [] }
  try {
    const [port = 0, adminPort = 0] = await freePorts(2)
    const env = {
      GATEHOUSE_LISTEN: `127.0.0.1:${port}`,
      GATEHOUSE_ADMIN_LISTEN: `127.0.0.1:${adminPort}`,
      NODE_ENV: 'production',
      GATEHOUSE_PUBLIC_URL: `http://127.0.0.1:${port}`,
      GATEHOUSE_UPSTREAM: 'http://127.0.0.1:1',
      GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
      GATEHOUSE_PROVIDER_CLIENT_ID: 'bench',
      GATEHOUSE_PROVIDER_CLIENT_SECRET: 'bench',
      GATEHOUSE_SESSION_KEYS: Buffer.alloc(32).toString('base64'),
    }
    // The first of each is not counted: it brings the files into memory, and the built one's compiled code for this
    // Node.js.
    for (let turn = 0; turn <= times; turn++) {
      for (const which of ['unbundled', 'built'] as const) {
        const program = join(project, 'dist', which === 'built' ? 'main.js' : 'unbundled/main.js')
        const since = performance.now()
        const running = start({
          name: which,
          core,
          program: process.execPath,
          args: [program, 'start'],
          errorFile: join(directory, `${which}.log`),
          env: which === 'built' ? env : { ...env, NODE_DISABLE_COMPILE_CACHE: '1' },
        })
        const taken = await untilReady(running, adminPort, since)
        if (turn > 0) starts[which].push(taken)
        await running.stop()
      }
    }
  } finally {
    await idp.close()
  }
  return judged(starts)
}

function compileUnbundled(): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: project,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the source does not compile: ${stdout}`)
}

async function untilReady(running: Running, adminPort: number, since: number): Promise<number> {
  const early = running.output.then(() => {
    throw new Error(`${running.name} ended before it was ready`)
  })
  early.catch(() => {})
  while (performance.now() - since < LIMIT_MS) {
    const answer = await Promise.race([fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => null), early])
    await answer?.body?.cancel()
    if (answer?.status === 200) return performance.now() - since
    await sleep(1)
  }
  throw new Error(`${running.name} was not ready within ${LIMIT_MS / 1000} s`)
}

const line = (name: string, taken: number[]): string => `${name.padEnd(10)} ${median(taken).toFixed(0).padStart(5)} ms`

function judged({ unbundled, built }: Starts): { report: string; kept: boolean } {
  const ratio = median(built.map((taken, turn) => taken / (unbundled[turn] ?? Number.NaN)))
  const kept = ratio <= PROMISE
  return {
    kept,
    report: [
      `${describeMachine(process.execPath)}; ${built.length} starts each, in turn`,
      '',
      'From start to ready, medians',
      '',
      line('unbundled', unbundled),
      line('built', built),
      '',
      `${kept ? 'PASS' : 'FAIL'} at most ${PROMISE} times the unbundled program's, by the median of the pairs' ` +
        `ratios: ${ratio.toFixed(2)}`,
      '',
    ].join('\n'),
  }
}
