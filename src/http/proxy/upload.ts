import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import type { CompiledRoute } from '../../gate/verdict.ts'
import { Fault } from '../../errors.ts'
import { askForBody, waitsToBeAsked } from '../server/expect-continue.ts'
import { tooManyFields } from '../server/framing.ts'
import { withTrailers } from './undici-writer.ts'

/** The body of a request, read from the client's own stream. */
export interface Upload {
  readonly stream: Readable
  readonly maxBytes: number
  /** Called when the upstream is ready for the body. */
  start(): void
  /** Returns the trailer fields once the body has ended: name, value, name, value … Throws a fault for too many. */
  trailers(): readonly string[]
}

/**
 * Returns the request's body with its limits. `trailers` returns the fields that go upstream behind a body without a
 * Content-Length.
 */
export function uploadOf(
  request: IncomingMessage,
  { maxBody }: CompiledRoute,
  maxTrailerFields: number,
  trailers: () => readonly string[],
): Upload {
  return {
    stream: request,
    maxBytes: maxBody ?? Number.POSITIVE_INFINITY,
    start() {
      askForBody(request)
    },
    trailers() {
      if (request.rawTrailers.length > 2 * maxTrailerFields) throw tooManyFields('trailer', maxTrailerFields)
      return trailers()
    },
  }
}

/**
 * Returns the request's body as a stream for undici, which applies the limits and requests the body when the upstream is
 * ready for it. The stream leaves the client's connection open if the upstream fails, so that the client gets a response.
 */
export function bodyOf(request: IncomingMessage, upload: Upload): Readable {
  const chunks: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
  const hasLength = request.headers['content-length'] !== undefined
  const isUnlimited = upload.maxBytes === Number.POSITIVE_INFINITY && !waitsToBeAsked(request)
  if (hasLength && isUnlimited) return Readable.from(chunks, { objectMode: false })
  let trailers: readonly string[] = []
  async function* limited(): AsyncIterable<Buffer> {
    upload.start()
    let size = 0
    for await (const chunk of chunks) {
      size += chunk.length
      if (size > upload.maxBytes) throw new Fault('payload_too_large')
      yield chunk
    }
    trailers = upload.trailers()
  }
  const stream = Readable.from(limited(), { objectMode: false })
  return hasLength ? stream : withTrailers(stream, () => trailers)
}
