import type { IncomingMessage } from 'node:http'
import { Fault } from '../../errors.ts'
import { askForBody, waitsToBeAsked } from './expect-continue.ts'
import { dropRest } from './lingering-close.ts'

/**
 * Reads a whole body. For a body of more than `most` bytes, returns `null` and discards the rest, so that a browser
 * reads the response. Rejects with `bad_request`, with the status 408 after `within` ms.
 */
export async function readBody(request: IncomingMessage, most: number, within: number): Promise<Buffer | null> {
  if (Number(request.headers['content-length'] ?? 0) > most) {
    // A client that waits for 100 Continue will send no body.
    if (!waitsToBeAsked(request)) dropRest(request)
    return null
  }
  askForBody(request)
  const timer: { id?: NodeJS.Timeout } = {}
  const late = new Promise<'late'>((resolve) => {
    timer.id = setTimeout(resolve, within, 'late').unref()
  })
  try {
    const body = await collect(request.iterator({ destroyOnReturn: false }), most, late)
    if (body === null) dropRest(request)
    return body
  } catch (cause) {
    throw cause instanceof Fault ? cause : new Fault('bad_request', { cause })
  } finally {
    clearTimeout(timer.id)
  }
}

async function collect(chunks: AsyncIterator<unknown>, most: number, late: Promise<'late'>): Promise<Buffer | null> {
  const kept: Buffer[] = []
  let size = 0
  for (;;) {
    const next = await Promise.race([chunks.next(), late])
    if (next === 'late') throw new Fault('bad_request', { status: 408, text: 'bad_request.too_slow' })
    if (next.done === true) return Buffer.concat(kept)
    if (!Buffer.isBuffer(next.value)) throw new Fault('bad_request')
    size += next.value.length
    if (size > most) return null
    kept.push(next.value)
  }
}
