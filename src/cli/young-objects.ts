import { setFlagsFromString } from 'node:v8'

/**
 * Keeps V8 from placing new objects among the old ones where many of their kind have survived: it decides that for good
 * in the first seconds of load. Then the requests' objects keep each other alive, each collection takes four times as
 * long, and a whole one comes every second.
 */
export function keepYoungObjectsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
}

/**
 * Lets V8's room for new objects, which it makes small while nothing happens, grow in one step when there is something to
 * do. By twos, and by what survives, that takes the longer the less survives: seconds with eight times the collections,
 * each of which some requests wait for. For a process that has started: before, what is loaded survives, and so large a
 * step only costs time.
 */
export function growInOneStep(): void {
  setFlagsFromString('--semi-space-growth-factor=16')
}
