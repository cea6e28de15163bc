import module from 'node:module'
import { fileURLToPath } from 'node:url'

const FOLDER = 'compiled'

/**
 * Keeps what Node compiles beside the built program, for the next start to read, where Node can (22.8 or newer). Only
 * there, never in a temporary folder: code that others could put into it would be run.
 */
export function keepCompiled(): void {
  if (import.meta.url.endsWith('.ts')) return
  module.enableCompileCache?.(fileURLToPath(import.meta.resolve(`#built/${FOLDER}`)))
}
