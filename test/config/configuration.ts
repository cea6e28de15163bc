import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { loadConfig } from '../../src/config/load.ts'
import { ConfigurationError, type Problem } from '../../src/config/problems.ts'
import type { Config } from '../../src/config/schema.ts'

/** A session key of 32 bytes, in base64. */
export const key = Buffer.alloc(32, 7).toString('base64')

/** The least that loads; as flow maps, so that a test can add lines below. */
export const least = `publicUrl: https://orders.example.com
upstream: http://127.0.0.1:3000
provider: { issuer: "https://login.example.com", clientId: orders, clientSecret: hush }
session: { keys: ["${key}"] }
`

type Loaded = { config: Config; warnings: string[] }

/** Loads a YAML text from a file in the folder. */
export function loadText(folder: string, text: string, env: Record<string, string> = {}): Loaded {
  const file = join(folder, 'gatehouse.yaml')
  writeFileSync(file, text)
  return loadConfig({ file, env })
}

/** The problems of loading, none when it loads. */
export function problemsOf(load: () => unknown): Problem[] {
  try {
    load()
    return []
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
}

/** A problem on one line, without its file: `line:column path: message | what to write instead`. */
export function brief({ line, column, path, message, instead }: Problem): string {
  const place = line === null ? '' : `${line}:${column} `
  return `${place}${path}: ${message}${instead === null ? '' : ` | ${instead}`}`
}
