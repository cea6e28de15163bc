import { readFileSync, statSync } from 'node:fs'
import { basename, dirname, resolve } from 'node:path'
import { migrateFiles, type Source } from '../migrate/migrate.ts'
import { UnreadableFile } from '../migrate/setting.ts'
import { writeReport, writeValues, writeYaml } from '../migrate/write.ts'
import { readArguments, UsageError, type Command } from './command.ts'

const READABLE = `It reads:
  oauth2-proxy      the configuration file (oauth2-proxy.cfg), the YAML format (--alpha-config), an environment file
                    with OAUTH2_PROXY_… variables, a command line, shell script or systemd unit, a compose file,
                    Kubernetes objects, or the values of its Helm chart
  mod_auth_openidc  an Apache configuration with OIDC… directives, its virtual hosts and the files that it includes
  Wonderwall        an environment file with WONDERWALL_… variables, a command line, a compose file, Kubernetes
                    objects, or an Application of NAIS
`

export const migrate: Command = {
  help: `gatehouse migrate [--format config|values] FILE [FILE]…

Translates the configuration of another gateway and prints it as Gatehouse YAML on stdout. On stderr the command lists,
with line numbers, the keys that change their meaning, the keys without an equivalent and what to do instead, and
everything that affects security. The command detects the format of each file from its content. If the gateway reads
several files together, name all of them: manifests, the configuration file, and the list of email addresses.

  --format config   a configuration for gatehouse.yaml (default)
  --format values   values for the Helm chart helm/gatehouse: the configuration in config, the variables from their
                    Secrets in extraEnv, and, from the values of oauth2-proxy's chart, all others that both charts have

${READABLE}
The output contains no secrets: the YAML has placeholders such as \${OIDC_CLIENT_SECRET}, and stderr says how to set
them. What a route cannot express stays closed. A path that needed no login requires one until you open it. Where the
old rules cannot be expressed, the route requires the claim not_migrated, which no user has, until you decide.

  gatehouse migrate oauth2-proxy.cfg > gatehouse.yaml
  gatehouse check --config gatehouse.yaml
  gatehouse migrate --format values oauth2-proxy-values.yaml > gatehouse-values.yaml

docs/migrating.md lists every key and describes the change step by step.
Exits with status 0 if the YAML was printed, and with 2 if a file could not be understood.
`,
  async run(args) {
    const { positionals, values } = readArguments({
      args: [...args],
      options: { format: { type: 'string', default: 'config' } },
      strict: true,
      allowPositionals: true,
    })
    const { format } = values
    if (format !== 'config' && format !== 'values')
      throw new UsageError(`--format is config or values, not ${JSON.stringify(format)}`)
    if (positionals.length === 0) throw new UsageError('name a file: gatehouse migrate oauth2-proxy.cfg')
    try {
      const migration = migrateFiles(positionals.map(readSource), readNamedFile, format)
      process.stderr.write(writeReport(migration))
      process.stdout.write(format === 'values' ? writeValues(migration) : writeYaml(migration))
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
    return { name, text: textOf(readFileSync(name)) }
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw new UnreadableFile(`${name}: can't be read (${code})`)
  }
}

/** Decodes a file. Editors and shells on Windows write UTF-16, and older ones Windows-1252, instead of UTF-8. */
function textOf(bytes: Buffer): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return new TextDecoder('windows-1252').decode(bytes)
  }
}

const MAX_BYTES = 1_000_000

/** Reads a file that a configuration names: where the configuration says, or beside the configuration. */
function readNamedFile(path: string, besideFile: string): string | null {
  const folder = dirname(besideFile)
  for (const file of [resolve(folder, path), resolve(folder, basename(path))]) {
    try {
      const found = statSync(file)
      if (found.isFile() && found.size <= MAX_BYTES) return textOf(readFileSync(file))
    } catch {
      // The other place may have the file.
    }
  }
  return null
}
