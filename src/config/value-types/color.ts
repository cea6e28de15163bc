import { quote, type ValueType } from '../value-type.ts'

/** The backgrounds on which the pages show links, in light and in dark mode. */
export const CARD = { light: '#ffffff', dark: '#1d232b' } as const

/** An accent color with the colors that are readable with it. All are hexadecimal. */
export interface Accent {
  readonly written: string
  /** The text on a button of this color: black or white. */
  readonly on: string
  /** The color of links on the backgrounds in `CARD`: the accent color, darker or lighter if necessary. */
  readonly link: { readonly light: string; readonly dark: string }
}

const HEXADECIMAL = /^#([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})$/
/** Red, green and blue in decimal, with commas or spaces between them. */
const DECIMAL = /^rgb\( *(\d{1,3})(?: *, *| +)(\d{1,3})(?: *, *| +)(\d{1,3}) *\)$/

/**
 * @see https://www.w3.org/TR/css-color-4/#hex-notation
 * @see https://www.w3.org/TR/css-color-4/#rgb-functions
 */
export const accentColor: ValueType<Accent> = {
  name: 'color',
  json: { type: 'string', pattern: `${HEXADECIMAL.source}|${DECIMAL.source}` },
  parse(written, { refuse }) {
    const color = typeof written === 'string' ? channelsIn(written) : null
    if (typeof written !== 'string' || color === null)
      return refuse(`must be a color in hexadecimal digits, not ${quote(written)}`, 'write it as "#1f5fbf", in quotes')
    return {
      written,
      on: contrast(color, WHITE) >= READABLE ? '#ffffff' : '#000000',
      link: {
        light: hex(mixUntilReadable(color, BLACK, channelsOf(CARD.light))),
        dark: hex(mixUntilReadable(color, WHITE, channelsOf(CARD.dark))),
      },
    }
  },
  format: ({ written }) => written,
}

/** Red, green and blue, from 0 to 255. */
type Channels = readonly [red: number, green: number, blue: number]

const BLACK: Channels = [0, 0, 0]
const WHITE: Channels = [255, 255, 255]

/**
 * The contrast that text needs. A color has it with black or with white.
 * @see https://www.w3.org/TR/WCAG22/#contrast-minimum
 */
const READABLE = 4.5

function channelsIn(written: string): Channels | null {
  if (HEXADECIMAL.test(written)) return channelsOf(written)
  const found = DECIMAL.exec(written)
  const [red = 0, green = 0, blue = 0] = (found ?? []).slice(1).map(Number)
  return found === null || Math.max(red, green, blue) > 255 ? null : [red, green, blue]
}

function channelsOf(color: string): Channels {
  const digits = color.slice(1)
  const [red = 0, green = 0, blue = 0] = Buffer.from(
    digits.length === 3 ? digits.replaceAll(/./g, '$&$&') : digits,
    'hex',
  )
  return [red, green, blue]
}

function hex(channels: Channels): string {
  return `#${Buffer.from(channels).toString('hex')}`
}

/** Returns the color, mixed with as little of `end` as makes it readable on `background`. */
function mixUntilReadable(color: Channels, end: Channels, background: Channels): Channels {
  for (let percent = 0; percent < 100; percent += 4) {
    const mix = (channel: number, to: number): number => Math.round(channel + (to - channel) * (percent / 100))
    const mixed: Channels = [mix(color[0], end[0]), mix(color[1], end[1]), mix(color[2], end[2])]
    if (contrast(mixed, background) >= READABLE) return mixed
  }
  return end
}

/** @see https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio */
function contrast(a: Channels, b: Channels): number {
  const [darker, lighter] = [luminance(a), luminance(b)].toSorted((x, y) => x - y)
  return ((lighter ?? 0) + 0.05) / ((darker ?? 0) + 0.05)
}

/** @see https://www.w3.org/TR/WCAG22/#dfn-relative-luminance */
function luminance(channels: Channels): number {
  const [red = 0, green = 0, blue = 0] = channels.map((channel) => {
    const part = channel / 255
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4
  })
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue
}
