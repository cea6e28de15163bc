import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import module from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { startIdp } from '../src/demo/idp.ts'

const READY_TIMEOUT_MS = 60_000

// Node.js writes its compile cache on a clean exit (src/main.ts), so this script runs the built program twice:
// with the memory store, and with an unreachable Redis, which is enough to compile the code of the Redis store.
const folder = mkdtempSync(join(tmpdir(), 'gatehouse-warm-'))
const idp = await startIdp()
try {
  if (typeof module.enableCompileCache === 'function') {
    await serveOnce({}, 200)
    await serveOnce({ GATEHOUSE_SESSION_STORE: 'redis://127.0.0.1:1' }, 503)
    makeReadable(fileURLToPath(new URL('../dist/compiled', import.meta.url)))
    process.stdout.write(`dist/compiled holds the compile cache of Node.js ${process.version}\n`)
  }
} finally {
  await idp.close()
  rmSync(folder, { recursive: true })
}

async function serveOnce(extraEnv: Readonly<Record<string, string>>, readiness: number): Promise<void> {
  const [listen, admin] = [join(folder, 'gate.sock'), join(folder, 'admin.sock')]
  const child = spawn(process.execPath, [fileURLToPath(new URL('../dist/main.js', import.meta.url)), 'start'], {
    env: {
      GATEHOUSE_LISTEN: `unix:${listen}`,
      GATEHOUSE_ADMIN_LISTEN: `unix:${admin}`,
      GATEHOUSE_PUBLIC_URL: 'http://localhost',
      GATEHOUSE_UPSTREAM: 'http://127.0.0.1:1',
      GATEHOUSE_LOG_LEVEL: 'silent',
      GATEHOUSE_PROVIDER_ISSUER: idp.issuer,
      GATEHOUSE_PROVIDER_CLIENT_ID: 'warm',
      GATEHOUSE_PROVIDER_CLIENT_SECRET: 'warm',
      GATEHOUSE_SESSION_KEYS: Buffer.alloc(32).toString('base64'),
      GATEHOUSE_SHUTDOWN_DRAIN: '1s',
      ...extraEnv,
    },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const exited = once(child, 'exit')
  const deadline = Date.now() + READY_TIMEOUT_MS
  while ((await status(admin, '/readyz')) !== readiness) {
    if (child.exitCode !== null || Date.now() > deadline)
      throw new Error(`/readyz of the built program did not answer ${readiness} in time`)
    await sleep(20)
  }
  await status(admin, '/metrics')
  for (const accept of ['text/html', 'application/json']) await status(listen, '/', accept)
  child.kill('SIGTERM')
  await exited
  if (child.exitCode !== 0) throw new Error(`the built program exited with ${child.exitCode ?? child.signalCode}`)
}

/** Lets other users read the compile cache, which Node.js creates for its own user only. */
function makeReadable(folder: string): void {
  chmodSync(folder, 0o755)
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) makeReadable(path)
    else chmodSync(path, 0o644)
  }
}

/** Returns the status of a GET over a Unix socket, or `null` if the connection fails. */
async function status(socketPath: string, path: string, accept = '*/*'): Promise<number | null> {
  return new Promise((resolve) => {
    request({ socketPath, path, headers: { host: 'localhost', accept }, agent: false }, (answer) => {
      answer.resume().on('close', () => {
        resolve(answer.statusCode ?? null)
      })
    })
      .on('error', () => {
        resolve(null)
      })
      .end()
  })
}
