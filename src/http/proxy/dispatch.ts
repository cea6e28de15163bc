import type { Duplex } from 'node:stream'
import type { Dispatcher } from 'undici'

/** What can be done to an upstream's answer while it comes. */
export interface Control {
  pause(): void
  resume(): void
  /** Ends it: with `onError` where it has begun to come, or could still. */
  abort(reason: Error): void
}

/** Hears of an upstream's answer, piece by piece. */
export interface AnswerHandler {
  onStart(control: Control): void
  /** `rawHeaders`: name, value, name, value …; interim answers (RFC 9110, section 15.2) have heads of their own. */
  onHead(status: number, rawHeaders: readonly Buffer[], phrase: string): void
  onData(chunk: Buffer): void
  onEnd(): void
  onError(error: Error): void
  /** The upstream has switched protocols. */
  onUpgrade?(rawHeaders: readonly (Buffer | string)[], socket: Duplex): void
}

/**
 * Sends a request. Of undici's two forms of handlers this is the one that it uses itself: the other one makes an object
 * of all headers first, which nobody here looks at.
 */
export function dispatch(pool: Dispatcher, options: Dispatcher.DispatchOptions, handler: AnswerHandler): void {
  let paused = false
  let aborted = false
  let goOn: (() => void) | null = null

  function start(abort: (reason: Error) => void): Control {
    return {
      pause() {
        paused = true
      },
      resume() {
        if (!paused) return
        paused = false
        goOn?.()
      },
      abort(reason) {
        if (aborted) return
        aborted = true
        abort(reason)
      },
    }
  }

  pool.dispatch(options, {
    onConnect(abort) {
      handler.onStart(start(abort))
    },
    onHeaders(status, rawHeaders, resume, phrase) {
      goOn = resume
      handler.onHead(status, rawHeaders, phrase)
      return !paused
    },
    onData(chunk) {
      handler.onData(chunk)
      return !paused
    },
    onComplete() {
      handler.onEnd()
    },
    onError(error) {
      handler.onError(error)
    },
    onUpgrade(_status, rawHeaders, socket) {
      handler.onUpgrade?.(rawHeaders ?? [], socket)
    },
  })
}
