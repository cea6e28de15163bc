import { randomBytes } from 'node:crypto'
import { readArguments, type Command } from './command.ts'

export const keygen: Command = {
  help: `gatehouse keygen

Prints a new key for session.keys: 32 random bytes in base64.
To rotate keys without ending sessions, put the new key first in session.keys and keep the old key in the list until
session.lifetime has passed.
`,
  async run(args) {
    readArguments({ args: [...args], options: {}, strict: true })
    process.stdout.write(`${randomBytes(32).toString('base64')}\n`)
    return 0
  },
}
