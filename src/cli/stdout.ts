import { fstatSync } from 'node:fs'
import { isatty } from 'node:tty'

/** Whether standard output takes at once what it is given: a file or a device does, a pipe or a terminal may be full. */
export function isStdoutPrompt(): boolean {
  const stat = fstatSync(1)
  return stat.isFile() || (stat.isCharacterDevice() && !isatty(1))
}
