const OTHER = /[^\u0020-\u007e]/g

/**
 * What a client sent, for a log line: control characters and whatever else is no printable ASCII as `%HH`, so that it
 * can neither begin a line of its own nor speak to the terminal of whoever reads it.
 */
export function printable(text: string): string {
  return text.replace(OTHER, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
