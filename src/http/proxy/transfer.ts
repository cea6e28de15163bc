import { performance } from 'node:perf_hooks'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { Fault } from '../../errors.ts'
import { tooManyFields } from '../header-fields.ts'
import { askForBody, waitsToBeAsked } from '../expectation.ts'
import { hasBody } from '../staged-close.ts'
import { headersTimeout } from './final-answer.ts'
import { Receiver, closeBehindUpload, type Transfer } from './receiver.ts'
import { upstreamPath } from './upstream-path.ts'

/** What may be sent anew where a connection turns out to be closed (RFC 9110, section 9.2.1). */
const REPEATABLE = new Set(['GET', 'HEAD', 'OPTIONS'])
/** An application that restarts closes all of them at once. */
const MAX_RETRIES = 3

/**
 * Sends the request upstream and its answer back, both as streams with back-pressure, nothing kept, nothing changed.
 */
export function transfer(job: Transfer): void {
  const { route, facts, request } = job
  const body = hasBody(request)
  if (route.maxBody !== null && Number(request.headers['content-length'] ?? 0) > route.maxBody) {
    closeBehindUpload(job, body)
    job.fail(new Fault('payload_too_large'))
    return
  }
  send(job, performance.now(), body, !body && REPEATABLE.has(facts.method) ? MAX_RETRIES : 0)
}

function send(job: Transfer, handedAt: number, hasBody: boolean, retries: number): void {
  const { route, facts } = job
  const retry =
    retries === 0
      ? null
      : () => {
          send(job, handedAt, hasBody, retries - 1)
        }
  const options: Dispatcher.DispatchOptions = {
    path: upstreamPath(route, facts.path) + facts.query,
    method: facts.method,
    headers: job.headers,
    body: hasBody ? bodyOf(job) : null,
    headersTimeout: headersTimeout(route, hasBody),
    bodyTimeout: 0,
  }
  job.pool.dispatch(options, new Receiver(job, { handedAt, hasBody, retry }))
}

/** Leaves the client's connection open when the upstream fails: it still has to get its answer. */
function bodyOf(job: Transfer): Readable {
  const { request, route } = job
  const chunks = request.iterator({ destroyOnReturn: false })
  const plain = route.maxBody === null && !waitsToBeAsked(request) && request.headers['transfer-encoding'] === undefined
  return Readable.from(plain ? chunks : watched(job, chunks), { objectMode: false })
}

/**
 * Asks for the body only when the upstream is there to take it, and takes no more bytes and trailer fields than there
 * may be.
 */
async function* watched(
  { request, route, headerFields }: Transfer,
  chunks: AsyncIterable<Buffer>,
): AsyncIterable<Buffer> {
  askForBody(request)
  const most = route.maxBody ?? Number.POSITIVE_INFINITY
  let size = 0
  for await (const chunk of chunks) {
    size += chunk.length
    if (size > most) throw new Fault('payload_too_large')
    yield chunk
  }
  if (request.rawTrailers.length > 2 * headerFields) throw tooManyFields('trailer', headerFields)
}
