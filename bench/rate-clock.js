/**
 * A worker thread that posts a message at each time of a schedule. Node.js timers have a resolution of 1 ms, but 2,000
 * requests per second need one every 0.5 ms. The file is plain JavaScript because tsx does not apply to worker threads on
 * Node.js 20.
 */
import { parentPort, workerData } from 'node:worker_threads'

const { start, interval, count } = workerData
const neverChanged = new Int32Array(new SharedArrayBuffer(4))

for (let index = 0; index < count; index++) {
  const wait = start + index * interval - Number(process.hrtime.bigint()) / 1000
  if (wait > 0) Atomics.wait(neverChanged, 0, 0, wait / 1000)
  parentPort?.postMessage(index, [])
}
