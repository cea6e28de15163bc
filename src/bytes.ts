/** Returns the bytes as a string with one character per byte. */
export function latin1(bytes: Buffer | string | undefined): string {
  return typeof bytes === 'string' ? bytes : (bytes?.toString('latin1') ?? '')
}

const NOT_PRINTABLE = /[^\u0020-\u007e]/g

/** Percent-encodes every character that is not printable ASCII. The text has one character per byte. */
export function percentEncodeBytes(text: string): string {
  return text.replace(
    NOT_PRINTABLE,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  )
}
