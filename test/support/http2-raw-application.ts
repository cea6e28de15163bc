import type { Socket } from 'node:net'
import type { Test } from 'tap'
import { FRAME, frame, readFrames } from './http2-frames.ts'
import { startSockets } from './sockets.ts'

export type RawHttp2Application = {
  readonly url: string
  /** The connections since the start. */
  readonly sockets: readonly Socket[]
}

const PREFACE_BYTES = 24

/** Starts an application whose responses are frames. Calls `answer` with the stream of each request. */
export const startRawHttp2Application = async (
  t: Test,
  answer: (stream: number, socket: Socket, count: number) => void,
): Promise<RawHttp2Application> => {
  const sockets: Socket[] = []
  let count = 0
  const url = await startSockets(t, (socket) => {
    sockets.push(socket)
    socket.write(frame(FRAME.settings, 0, 0))
    readFrames(
      socket,
      ({ type, stream }) => {
        if (type !== FRAME.headers) return
        count += 1
        answer(stream, socket, count)
      },
      PREFACE_BYTES,
    )
  })
  return { url, sockets }
}
