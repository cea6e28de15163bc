const OTHER = /[^\u0020-\u007e]/g

/**
 * Replaces every character that is not printable ASCII by `%HH`, so that client data can neither forge a log line nor
 * control a terminal.
 */
export function printable(text: string): string {
  return text.replace(OTHER, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`)
}
