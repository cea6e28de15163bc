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

/** The durations of starts in ms, from the spawn to the first 200 of /readyz. */
type Starts = Readonly<Record<'unbundled' | 'built', number[]>>

/** The promised maximum, as a share of the start time of the unbundled program. */
const MAX_SHARE = 0.5
const TIMEOUT_MS = 20_000
const project = fileURLToPath(new URL('..', import.meta.url))

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
    // The first start of each is not counted: it loads the files into the page cache and writes the compile cache.
    for (let turn = 0; turn <= times; turn++) {
      for (const variant of ['unbundled', 'built'] as const) {
        const program = join(project, 'dist', variant === 'built' ? 'main.js' : 'unbundled/main.js')
        const since = performance.now()
        const running = start({
          name: variant,
          core,
          program: process.execPath,
          args: [program, 'start'],
          errorFile: join(directory, `${variant}.log`),
          env: variant === 'built' ? env : { ...env, NODE_DISABLE_COMPILE_CACHE: '1' },
        })
        const ms = await waitUntilReady(running, adminPort, since)
        if (turn > 0) starts[variant].push(ms)
        await running.stop()
      }
    }
  } finally {
    await idp.close()
  }
  return evaluate(starts)
}

function compileUnbundled(): void {
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  const { status, stdout } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: project,
    encoding: 'utf8',
  })
  if (status !== 0) throw new Error(`the source does not compile: ${stdout}`)
}

async function waitUntilReady(running: Running, adminPort: number, since: number): Promise<number> {
  const exitedEarly = running.output.then(() => {
    throw new Error(`${running.name} exited before it was ready`)
  })
  exitedEarly.catch(() => {})
  while (performance.now() - since < TIMEOUT_MS) {
    const answer = await Promise.race([fetch(`http://127.0.0.1:${adminPort}/readyz`).catch(() => null), exitedEarly])
    await answer?.body?.cancel()
    if (answer?.status === 200) return performance.now() - since
    await sleep(1)
  }
  throw new Error(`${running.name} was not ready within ${TIMEOUT_MS / 1000} s`)
}

function line(name: string, ms: readonly number[]): string {
  return `${name.padEnd(10)} ${median(ms).toFixed(0).padStart(5)} ms`
}

function evaluate({ unbundled, built }: Starts): { report: string; kept: boolean } {
  const ratio = median(built.map((ms, turn) => ms / (unbundled[turn] ?? Number.NaN)))
  const kept = ratio <= MAX_SHARE
  return {
    kept,
    report: [
      `${describeMachine(process.execPath)}; ${built.length} starts each, alternating`,
      '',
      'Time from the spawn to the first 200 of /readyz, medians',
      '',
      line('unbundled', unbundled),
      line('built', built),
      '',
      `${kept ? 'PASS' : 'FAIL'} at most ${MAX_SHARE} times the start time of the unbundled program ` +
        `(median ratio of the pairs): ${ratio.toFixed(2)}`,
      '',
    ].join('\n'),
  }
}
