/**
 * A thread that posts a message at each time of a fixed schedule. It exists because Node's timers count in whole
 * milliseconds: a load of 2,000 requests per second needs half of one. Plain JavaScript, since tsx on Node 20 does not
 * reach into threads.
 */
import { parentPort, workerData } from 'node:worker_threads'

const { start, interval, count } = workerData
const never = new Int32Array(new SharedArrayBuffer(4))

for (let index = 0; index < count; index++) {
  const wait = start + index * interval - Number(process.hrtime.bigint()) / 1000
  if (wait > 0) Atomics.wait(never, 0, 0, wait / 1000)
  parentPort?.postMessage(index, [])
}
