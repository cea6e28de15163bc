import type { ServerResponse } from 'node:http'
import type { Control } from './dispatch.ts'

/** An answer's body on its way to the client. */
export interface Delivery {
  readonly response: ServerResponse
  /** Can hold the upstream back; `null` before it has been asked. */
  upstream: Control | null
  /**
   * The first chunk, until it is known whether it is the only one: most are, and go out in one piece with their head.
   */
  held: Buffer | null
  /** Head and first chunk are out. */
  begun: boolean
}

/** A body of which nothing has come yet. */
export function newDelivery(response: ServerResponse): Delivery {
  return { response, upstream: null, held: null, begun: false }
}

/** Passes a chunk on, as fast as the client takes it. */
export function deliver(delivery: Delivery, chunk: Buffer): void {
  if (!delivery.begun && delivery.held === null) {
    delivery.held = chunk
    return
  }
  begin(delivery)
  write(delivery, chunk)
}

/**
 * Shows the client the head, and the first chunk where it has come: an event stream's first event may be long in
 * coming.
 */
export function begin(delivery: Delivery): void {
  const { response, held, begun } = delivery
  if (begun || response.destroyed) return
  delivery.begun = true
  delivery.held = null
  if (held === null) response.flushHeaders()
  else write(delivery, held)
}

/** Ends the body with what is still held. */
export function complete(delivery: Delivery): void {
  const { response, held } = delivery
  delivery.begun = true
  delivery.held = null
  if (held === null) response.end()
  else response.end(held)
}

function write({ response, upstream }: Delivery, chunk: Buffer): void {
  if (response.write(chunk)) return
  upstream?.pause()
  response.once('drain', () => {
    upstream?.resume()
  })
}
