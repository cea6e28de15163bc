import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { migrateFiles, type Source } from '../migrate/migrate.ts'
import { UnreadableFile } from '../migrate/setting.ts'
import { writeReport, writeYaml } from '../migrate/write.ts'
import { readArguments, UsageError, type Command } from './command.ts'

const READABLE = `It reads:
  oauth2-proxy      the configuration file (oauth2-proxy.cfg), the YAML format (--alpha-config), an environment file
                    with OAUTH2_PROXY_… variables, or command-line flags in a file or as Kubernetes args
  mod_auth_openidc  an Apache configuration with OIDC… directives, including <VirtualHost> and <Location>
  Wonderwall        an environment file with WONDERWALL_… variables, or command-line flags
`

export const migrate: Command = {
  help: `gatehouse migrate FILE [FILE]…

Translates the configuration of another gateway and prints it as Gatehouse YAML on stdout. On stderr the command lists,
with line numbers, the keys that change their meaning, the keys without an equivalent and what to do instead, and
everything that affects security. The command detects the format of each file from its content. If the gateway reads
several files together, name all of them.

${READABLE}
The output contains no secrets: the YAML has placeholders such as \${OIDC_CLIENT_SECRET}, and stderr says how to set
them. What a route cannot express stays closed. A path that needed no login requires one until you open it. Where the
old rules cannot be expressed, the route requires the claim not_migrated, which no user has, until you decide.

  gatehouse migrate oauth2-proxy.cfg > gatehouse.yaml
  gatehouse check --config gatehouse.yaml

docs/migrating.md lists every key and describes the change step by step.
Exits with status 0 if the YAML was printed, and with 2 if a file could not be understood.
`,
  async run(args) {
    const { positionals } = readArguments({ args: [...args], options: {}, strict: true, allowPositionals: true })
    if (positionals.length === 0) throw new UsageError('name a file: gatehouse migrate oauth2-proxy.cfg')
    try {
      const migration = migrateFiles(positionals.map(readSource), readNamedFile)
      process.stderr.write(writeReport(migration))
      process.stdout.write(writeYaml(migration))
      return 0
    } catch (error) {
      if (!(error instanceof UnreadableFile)) throw error
      process.stderr.write(`gatehouse migrate: ${error.message}\n\n${READABLE}`)
      return 2
    }
  },
}

function readSource(name: string): Source {
  try {
    return { name, text: readFileSync(name, 'utf8').replace(/^\uFEFF/, '') }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new UnreadableFile(`${name}: can't be read (${code})`)
  }
}

const MAX_BYTES = 1_000_000

/** Reads a file that a configuration names: where the configuration says, or beside the configuration. */
function readNamedFile(path: string, besideFile: string): string | null {
  const folder = dirname(besideFile)
  for (const file of [resolve(folder, path), resolve(folder, basename(path))]) {
    try {
      const found = statSync(file)
      if (found.isFile() && found.size <= MAX_BYTES) return readFileSync(file, 'utf8').replace(/^\uFEFF/, '')
    } catch {
      // The other place may have the file.
    }
  }
  return null
}
