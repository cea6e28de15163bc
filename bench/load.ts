import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { findProgram } from './machine.ts'
import { start } from './processes.ts'
import type { RateResult } from './rate.ts'

export interface Target {
  readonly name: string
  readonly port: number
  readonly cookie: string | null
  readonly core: number
  readonly directory: string
}

/** The result of wrk: latencies and `duration` in µs, `bytes` of all responses including their headers. */
export interface WrkResult {
  readonly requests: number
  readonly duration: number
  readonly bytes: number
  readonly p50: number
  readonly p99: number
  readonly errors: Record<string, number>
}

const WRK_SCRIPT = fileURLToPath(new URL('wrk.lua', import.meta.url))
const RATE_PROGRAM = fileURLToPath(new URL('rate.ts', import.meta.url))
const RATE_WARM_UP_SECONDS = 2
/** New space for some seconds, because garbage collections of the load generator would add to the latencies. */
const RARE_COLLECTIONS = ['--min-semi-space-size=128', '--max-semi-space-size=128']
/** The tolerated share of failures: a contestant may close an idle connection just as it is used. */
const MAX_FAILURE_SHARE = 0.001

/** Sends requests over a number of connections as fast as they are answered. Throws if more than one in 1,000 fails. */
export async function fullLoad(
  target: Target,
  connections: number,
  seconds: number,
  bodyBytes: number,
): Promise<WrkResult> {
  const args = ['-t1', `-c${connections}`, `-d${seconds}s`, '-s', WRK_SCRIPT]
  if (target.cookie !== null) args.push('-H', `Cookie: ${target.cookie}`)
  args.push(urlOf(target))
  const output = await start({
    name: `wrk against ${target.name}`,
    core: target.core,
    program: findProgram('wrk', 'wrk'),
    args,
    collect: true,
    errorFile: join(target.directory, 'load.log'),
  }).output
  const result: WrkResult = JSON.parse(lastLine(output))
  const failures = Object.values(result.errors).reduce((sum, count) => sum + count, 0)
  if (failures > result.requests * MAX_FAILURE_SHARE) {
    const counts = Object.entries(result.errors)
      .map(([kind, count]) => `${count} ${kind}`)
      .join(', ')
    throw new Error(`${target.name} failed under load: ${counts} of ${result.requests} requests`)
  }
  if (result.requests === 0 || result.bytes < result.requests * bodyBytes) {
    throw new Error(`${target.name} returned responses under load that are not the upstream's`)
  }
  return result
}

/** How h2load sends its requests. `body` is a file that is sent with each request. */
export interface Http2Load {
  readonly http1?: true
  readonly connections: number
  /** The number of requests in progress on a connection. */
  readonly streams: number
  readonly path: string
  readonly headers: readonly string[]
  readonly body?: string
}

/**
 * Sends requests with h2load as fast as they are answered. Returns the number of 2xx responses. Throws if more than one
 * request in 1,000 fails.
 */
export async function http2Load(target: Target, load: Http2Load, seconds: number): Promise<number> {
  const args = [`-D${seconds}`, `-c${load.connections}`, `-m${load.streams}`]
  if (load.http1) args.push('--h1')
  if (load.body !== undefined) args.push('-d', load.body)
  for (const line of load.headers) args.push('-H', line)
  if (target.cookie !== null) args.push('-H', `cookie: ${target.cookie}`)
  const output = await start({
    name: `h2load against ${target.name}`,
    core: target.core,
    program: findProgram('h2load', 'nghttp2-client'),
    args: [...args, `http://127.0.0.1:${target.port}${load.path}`],
    collect: true,
    errorFile: join(target.directory, 'load.log'),
  }).output
  const done = Number(/^requests: .* (\d+) done,/m.exec(output)?.[1])
  const succeeded = Number(/^status codes: (\d+) 2xx,/m.exec(output)?.[1])
  if (!(succeeded > 0) || done - succeeded > done * MAX_FAILURE_SHARE)
    throw new Error(`${target.name} failed under load: ${output.trim()}`)
  return succeeded
}

/** Sends requests over 32 connections at a constant rate, even if responses are late. Throws if more than one in 1,000 fails. */
export async function constantRate(target: Target, perSecond: number, seconds: number): Promise<RateResult> {
  const output = await start({
    name: `the constant load against ${target.name}`,
    core: target.core,
    program: process.execPath,
    args: [...RARE_COLLECTIONS, '--import=tsx', RATE_PROGRAM],
    env: {
      RATE_URL: urlOf(target),
      RATE_COOKIE: target.cookie ?? '',
      RATE_PER_SECOND: String(perSecond),
      RATE_WARM_UP_SECONDS: String(RATE_WARM_UP_SECONDS),
      RATE_SECONDS: String(seconds),
      RATE_CONNECTIONS: '32',
    },
    collect: true,
    errorFile: join(target.directory, 'load.log'),
  }).output
  const result: RateResult = JSON.parse(lastLine(output))
  if (result.errors > result.requests * MAX_FAILURE_SHARE) {
    throw new Error(`${target.name} failed ${result.errors} times at ${perSecond} requests per second`)
  }
  return result
}

function urlOf(target: Target): string {
  return `http://127.0.0.1:${target.port}/`
}

function lastLine(output: string): string {
  return output.trimEnd().split('\n').at(-1) ?? ''
}
