import { setFlagsFromString } from 'node:v8'

/**
 * Two things that V8 is told about a process whose objects mostly die with their request.
 *
 * It is not to place new objects among the old ones where many of their kind have survived: it decides that for good in
 * the first seconds of load. Then the requests' objects keep each other alive, each collection takes four times as long,
 * and a whole one comes every second.
 *
 * And the room for new objects, which it makes small while nothing happens, is to grow in one step when there is
 * something to do. By twos, and by what survives, it takes the longer the less survives: seconds with eight times the
 * collections, each of which some requests wait for.
 */
export function keepYoungObjectsYoung(): void {
  setFlagsFromString('--no-allocation-site-pretenuring')
  setFlagsFromString('--semi-space-growth-factor=16')
}
