import { isIPv6 } from 'node:net'

export interface AddressRanges {
  /** Returns whether a range contains the address. A text that is not an IP address is in no range. */
  contains(address: string): boolean
  /** Returns the first range that contains the address, as configured, or `null`. */
  find(address: string): string | null
}

interface Range {
  /** The range as configured, such as `10.0.0.0/8`. */
  readonly text: string
  readonly family: 4 | 6
  /** The words of the network, one for IPv4 and four for IPv6. */
  readonly words: readonly number[]
  readonly masks: readonly number[]
  readonly bits: number
}

/** The words of the address that `readAddress` has read: one for IPv4, four for IPv6. */
const WORDS = new Uint32Array(4)

/**
 * Compiles ranges in CIDR notation. A range contains only addresses of its own family; an IPv4-mapped IPv6 address is an
 * IPv4 address. `contains` allocates nothing. A `BlockList` of node:net takes 1.5 µs for each check, because it allocates
 * a socket address.
 * @see https://www.rfc-editor.org/rfc/rfc4291#section-2.5.5.2
 */
export function compileRanges(ranges: readonly string[]): AddressRanges {
  const compiled = ranges.map(compileRange)

  function rangeOf(address: string): Range | null {
    const family = readAddress(address)
    if (family === 0) return null
    for (const range of compiled) if (range.family === family && matches(range)) return range
    return null
  }

  return {
    contains: (address) => rangeOf(address) !== null,
    find: (address) => rangeOf(address)?.text ?? null,
  }
}

/** Returns whether a range contains the address in `WORDS`, which is of its family. */
function matches({ words, masks }: Range): boolean {
  return hasPrefix(WORDS, words, masks)
}

function hasPrefix(address: ArrayLike<number>, words: readonly number[], masks: readonly number[]): boolean {
  for (let i = 0; i < words.length; i += 1)
    if ((((address[i] ?? 0) ^ (words[i] ?? 0)) & (masks[i] ?? 0)) !== 0) return false
  return true
}

function compileRange(text: string): Range {
  const [network = '', prefix = '128'] = text.split('/')
  const family = readAddress(network)
  if (family === 0) throw new Error(`${text} is not a range of IP addresses`)
  // The prefix of IPv4-mapped addresses counts the 96 bits before the IPv4 address too.
  const bits = family === 4 && isIPv6(network) ? Math.max(0, Number(prefix) - 96) : Number(prefix)
  return rangeFrom(text, family, [...WORDS.subarray(0, family === 4 ? 1 : 4)], bits)
}

function rangeFrom(text: string, family: 4 | 6, words: readonly number[], bits: number): Range {
  return { text, family, words, masks: words.map((_word, i) => maskOf(bits - 32 * i)), bits }
}

/** Returns a word in which the first `bits` bits are set. */
function maskOf(bits: number): number {
  if (bits <= 0) return 0
  return bits >= 32 ? -1 : ~(0xff_ff_ff_ff >>> bits)
}

const [DOT, ZERO, NINE, COLON, LOWER_A] = [46, 48, 57, 58, 97]

/**
 * Reads an IP address, without a port or brackets, into `WORDS`. Returns its family, or 0 if the text is not an address.
 * Ignores the zone of an IPv6 address.
 */
function readAddress(text: string): 0 | 4 | 6 {
  if (!text.includes(':')) return readIPv4(text, 0, text.length, 0) ? 4 : 0
  if (!isIPv6(text)) return 0
  readIPv6(text)
  if (WORDS[0] !== 0 || WORDS[1] !== 0 || WORDS[2] !== 0xff_ff) return 6
  WORDS[0] = WORDS[3] ?? 0
  return 4
}

/** Reads four decimal numbers into the word at `index`. Returns `false` for other text. */
function readIPv4(text: string, start: number, end: number, index: number): boolean {
  let [word, value, digits, numbers] = [0, 0, 0, 0]
  for (let i = start; i <= end; i += 1) {
    const code = i === end ? DOT : text.charCodeAt(i)
    if (code === DOT) {
      if (digits === 0 || numbers === 4) return false
      word = (word << 8) | value
      numbers += 1
      value = 0
      digits = 0
    } else {
      // Some programs read a number with a leading zero as octal.
      if (code < ZERO || code > NINE || (digits > 0 && value === 0)) return false
      value = value * 10 + code - ZERO
      digits += 1
      if (value > 255) return false
    }
  }
  WORDS[index] = word
  return numbers === 4
}

/** Reads a valid IPv6 address. */
function readIPv6(text: string): void {
  WORDS.fill(0)
  const zone = text.indexOf('%')
  let end = zone === -1 ? text.length : zone
  let last = 7
  // An address may end in the decimal form of IPv4, which takes the place of the last two groups.
  if (text.includes('.')) {
    const start = text.lastIndexOf(':') + 1
    readIPv4(text, start, end, 3)
    end = start - 1
    last = 5
  }
  const gap = text.indexOf('::')
  const middle = gap === -1 ? end : gap
  for (let i = 0, group = 0, value = 0; i <= middle; i += 1) {
    const code = i === middle ? COLON : text.charCodeAt(i)
    if (code !== COLON) value = (value << 4) | digitOf(code)
    else {
      setGroup(group, value)
      group += 1
      value = 0
    }
  }
  if (gap === -1) return
  // The groups after the gap are read from the right, because their number is not known.
  for (let i = end - 1, group = last, shift = 0; i >= gap + 2; i -= 1) {
    const code = text.charCodeAt(i)
    if (code === COLON) {
      group -= 1
      shift = 0
    } else {
      setGroup(group, digitOf(code) << shift)
      shift += 4
    }
  }
}

function digitOf(code: number): number {
  return code <= NINE ? code - ZERO : (code | 0x20) - LOWER_A + 10
}

/** Sets bits of a group of 16 bits, of which a word has two. */
function setGroup(group: number, bits: number): void {
  const word = group >> 1
  WORDS[word] = (WORDS[word] ?? 0) | (group % 2 === 0 ? bits << 16 : bits)
}

/**
 * Returns what limits count as one client: an IPv4 address, or the first 64 bits of an IPv6 address, because a network
 * gives each of its customers at least that many addresses. Returns other text as it is.
 * @see https://www.rfc-editor.org/rfc/rfc6177#section-2
 */
export function clientNetwork(address: string): string {
  if (!address.includes(':')) return address
  const family = readAddress(address)
  const [first = 0, second = 0] = WORDS
  if (family === 6) return `${hexGroups(first)}:${hexGroups(second)}::/64`
  return family === 4 ? [first >>> 24, (first >>> 16) & 0xff, (first >>> 8) & 0xff, first & 0xff].join('.') : address
}

function hexGroups(word: number): string {
  return `${(word >>> 16).toString(16)}:${(word & 0xff_ff).toString(16)}`
}

export const EVERY_ADDRESS = ['0.0.0.0/0', '::/0']

/** Returns ranges of the addresses that are in a range of both lists. */
export function intersection(some: readonly string[], others: readonly string[]): string[] {
  const ranges = others.map(compileRange)
  return some
    .map(compileRange)
    .flatMap((one) =>
      ranges.flatMap((other) => (isWithin(one, other) ? [one.text] : isWithin(other, one) ? [other.text] : [])),
    )
}

/** Returns whether every address in one of the ranges `narrow` is in one of the ranges `wide`. */
export function coversRanges(wide: readonly string[], narrow: readonly string[]): boolean {
  const ranges = wide.map(compileRange)
  return narrow.every((range) => isCovered(compileRange(range), ranges))
}

function isCovered(range: Range, by: readonly Range[]): boolean {
  if (by.some((one) => isWithin(range, one))) return true
  const inside = by.filter((one) => isWithin(one, range))
  return inside.length > 1 && halvesOf(range).every((half) => isCovered(half, inside))
}

function isWithin(inner: Range, { family, words, masks, bits }: Range): boolean {
  return inner.family === family && inner.bits >= bits && hasPrefix(inner.words, words, masks)
}

function halvesOf({ text, family, words, bits }: Range): Range[] {
  const bit = 0x80_00_00_00 >>> (bits % 32)
  const halves = [words, words].map((word, half) =>
    word.map((one, i) => (i !== bits >> 5 ? one : half === 0 ? one & ~bit : one | bit)),
  )
  return halves.map((half) => rangeFrom(text, family, half, bits + 1))
}
