import { execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import t from 'tap'
import { startApplication } from '../../support/application.ts'
import { eventually } from '../../support/eventually.ts'
import { freePort } from '../../support/free-port.ts'
import { asFile } from '../../support/gateway.ts'

const megabyte = 1024 * 1024
const size = 100 * megabyte
const piece = Buffer.from(Array.from({ length: megabyte }, (_, i) => i % 251))
const expected = (() => {
  const hash = createHash('sha256')
  for (let i = 0; i < size; i += megabyte) hash.update(piece)
  return hash.digest('hex')
})()

/**
 * Starts a gateway in its own process, in front of an application that hashes uploads and sends downloads of a requested
 * size.
 */
const startProcess = async (t: Test): Promise<{ url: string; resident: () => number }> => {
  const application = await startApplication(t, (req, res) => {
    if (req.method === 'GET') {
      let left = Number(req.url?.slice(1)) / megabyte
      const pump = (): void => {
        while (left > 0) {
          left -= 1
          if (!res.write(piece)) return
        }
        res.end()
      }
      res.on('drain', pump)
      pump()
      return
    }
    const hash = createHash('sha256')
    req
      .on('data', (chunk: Buffer) => {
        hash.update(chunk)
      })
      .on('end', () => {
        res.end(hash.digest('hex'))
      })
  })
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const config = asFile(t, {
    listen: `127.0.0.1:${port}`,
    publicUrl: url,
    upstream: application.url,
    admin: false,
    routes: [{ path: '/**', access: 'public' }],
    log: { level: 'warn' },
    provider: { issuer: 'http://127.0.0.1:1', clientId: 'x', clientSecret: 'x' },
    session: { keys: [Buffer.alloc(32).toString('base64')] },
  })
  const child = spawn(process.execPath, ['--import=tsx', 'src/main.ts', 'start', '--config', config], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  t.teardown(() => {
    child.kill('SIGKILL')
  })
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  await eventually(() => said.includes('"listening"'), { timeoutMs: 20_000 })
  return { url, resident: () => Number(execFileSync('ps', ['-o', 'rss=', '-p', String(child.pid)]).toString()) * 1024 }
}

const answerTo = async (req: ClientRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    req.once('response', resolve).once('error', reject)
  })

const download = async (url: string, bytes: number, onData: () => void): Promise<string> => {
  const answer = await answerTo(httpRequest(`${url}/${bytes}`).end())
  const hash = createHash('sha256')
  answer.on('data', (chunk: Buffer) => {
    hash.update(chunk)
    onData()
  })
  await once(answer, 'end')
  return hash.digest('hex')
}

const upload = async (url: string, bytes: number, sized: boolean, onData: () => void): Promise<string> => {
  const req = httpRequest(url, {
    method: 'POST',
    headers: sized ? { 'content-length': bytes } : { 'transfer-encoding': 'chunked' },
  })
  const answered = answerTo(req)
  for (let sent = 0; sent < bytes; sent += megabyte) {
    onData()
    if (!req.write(piece)) await once(req, 'drain')
  }
  req.end()
  return text(await answered)
}

void t.test('100 MB pass in either direction, byte for byte, without using memory', async (t) => {
  const { url, resident } = await startProcess(t)
  // The first megabytes warm up what every process warms up once.
  for (let i = 0; i < 3; i += 1) {
    await download(url, size / 4, () => undefined)
    await upload(url, size / 4, i % 2 === 0, () => undefined)
  }
  const transfers: [name: string, run: (onData: () => void) => Promise<string>][] = [
    ['down', (onData) => download(url, size, onData)],
    ['up, sized', (onData) => upload(url, size, true, onData)],
    ['up, chunked', (onData) => upload(url, size, false, onData)],
  ]
  for (const [name, run] of transfers) {
    const before = resident()
    let peak = before
    let next = 0
    const hash = await run(() => {
      if (Date.now() < next) return
      next = Date.now() + 100
      peak = Math.max(peak, resident())
    })
    t.equal(hash, expected, `${name}: the same bytes`)
    t.ok(peak - before < 30 * megabyte, `${name}: ${((peak - before) / megabyte).toFixed(1)} MB more at its peak`)
  }
})
