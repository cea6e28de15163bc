import { createHash, randomInt } from 'node:crypto'
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { deriveKey, firstOf, openBytes, seal } from '../../session/envelope.ts'

/** Keeps the long return URLs of logins in the browser, because `state` is part of URLs at the provider. */
export interface LongTargets {
  /**
   * Returns Set-Cookie values that keep the return URL of a state. They replace the oldest return URLs if there is no
   * room for another one. Returns `null` if the return URL is too long for the cookies.
   */
  keep(header: string | undefined, stateId: string, now: number, target: string): string[] | null
  /** Returns the return URL of a state, or `null` if the browser no longer has all of it. */
  find(header: string | undefined, stateId: string): string | null
  /** Returns Set-Cookie values that remove the return URL of a state. */
  clear(header: string | undefined, stateId: string): string[]
}

interface Piece {
  readonly slot: number
  /** Identifies the state to which the piece belongs. */
  readonly mark: string
  /** The start of the login, in ms since the epoch. */
  readonly at: number
  readonly index: number
  readonly count: number
  readonly data: string
}

/** Limits the length of a cookie, with its name and attributes, to less than 4,096 bytes. */
const PIECE_LENGTH = 3100
const PIECE = /^([\w-]{10})\.(\d{1,15})\.(\d)\.(\d)\.([\w-]+)$/
const PURPOSE = 'return URL'

/**
 * Creates the store of long return URLs, in cookies with these names. A return URL is compressed, sealed and cut into as
 * many cookies as it needs. `read` returns each value that the request has for the name of a cookie.
 */
export function createLongTargets(
  rawKeys: readonly Buffer[],
  names: readonly string[],
  attributes: string,
  lifeSeconds: number,
  read: (header: string | undefined, name: string) => readonly string[],
): LongTargets {
  const keys = rawKeys.map((raw) => deriveKey(raw, PURPOSE))

  function piecesIn(header: string | undefined): Piece[] {
    return names.flatMap((name, slot) =>
      read(header, name).flatMap((value) => {
        const [, mark = '', at, index, count, data = ''] = PIECE.exec(value) ?? []
        return mark === '' ? [] : [{ slot, mark, at: Number(at), index: Number(index), count: Number(count), data }]
      }),
    )
  }

  function remove(slot: number): string {
    return `${names[slot]}=; ${attributes}; Max-Age=0`
  }

  return {
    keep(header, stateId, now, target) {
      const sealed = seal(firstOf(keys), stateId, deflateRawSync(target)).toString('base64url')
      const parts = sealed.match(new RegExp(`.{1,${PIECE_LENGTH}}`, 'g')) ?? []
      if (parts.length > names.length) return null
      const present = piecesIn(header)
      const ages = names.map((_name, slot) => Math.max(0, ...present.filter((p) => p.slot === slot).map((p) => p.at)))
      // Tabs that start at the same time do not have each other's cookies yet. Random slots avoid most collisions.
      const first = randomInt(Math.floor(names.length / parts.length)) * parts.length
      const slots = names
        .map((_name, i) => (first + i) % names.length)
        .toSorted((a, b) => (ages[a] ?? 0) - (ages[b] ?? 0))
        .slice(0, parts.length)
      const replaced = new Set(present.filter(({ slot }) => slots.includes(slot)).map(({ mark }) => mark))
      const left = present.filter(({ slot, mark }) => replaced.has(mark) && !slots.includes(slot))
      const prefix = `${markOf(stateId)}.${now}`
      return [
        ...slots.map(
          (slot, i) =>
            `${names[slot]}=${prefix}.${i}.${parts.length}.${parts[i] ?? ''}; ${attributes}; Max-Age=${lifeSeconds}`,
        ),
        ...left.map(({ slot }) => remove(slot)),
      ]
    },
    find(header, stateId) {
      const mark = markOf(stateId)
      const pieces = piecesIn(header).filter((piece) => piece.mark === mark)
      const count = pieces[0]?.count ?? 0
      const parts = Array.from({ length: count }, (_, i) => pieces.find(({ index }) => index === i)?.data ?? '')
      const sealed = Buffer.from(parts.join(''), 'base64url')
      const opened = keys.reduce<Buffer | null>((found, key) => found ?? openBytes(key, stateId, sealed), null)
      return opened === null ? null : inflateRawSync(opened).toString()
    },
    clear(header, stateId) {
      const mark = markOf(stateId)
      return [...new Set(piecesIn(header).flatMap((piece) => (piece.mark === mark ? [piece.slot] : [])))].map(remove)
    },
  }
}

function markOf(stateId: string): string {
  return createHash('sha256').update(`${PURPOSE} ${stateId}`).digest('base64url').slice(0, 10)
}
