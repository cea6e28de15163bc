import { readFileSync } from 'node:fs'
import { readArguments, UsageError, type Command } from './command.ts'
import { migrateFiles, type Source } from '../migrate/migrate.ts'
import { UnreadableFile } from '../migrate/setting.ts'
import { writeReport, writeYaml } from '../migrate/write.ts'

const READABLE = `It reads:
  oauth2-proxy      its configuration file (oauth2-proxy.cfg), its YAML format (--alpha-config), an environment file
                    with OAUTH2_PROXY_… variables, or the flags of its command line in a file or as Kubernetes args
  mod_auth_openidc  Apache's configuration with OIDC… directives, <VirtualHost> and <Location> included
  Wonderwall        an environment file with WONDERWALL_… variables, or its flags
`

/** `gatehouse migrate`. */
export const migrate: Command = {
  help: `gatehouse migrate FILE [FILE]…

Writes the configuration of another gateway as Gatehouse YAML to stdout. On stderr it lists, with their lines, the keys
that mean something else here, those without an equal, with what to do instead, and everything that affects security.
The content of a file tells its format. Pass several files of one gateway together if the gateway reads them together.

${READABLE}
Secrets are never written: the YAML refers to variables such as \${OIDC_CLIENT_SECRET}, and stderr tells how to set them.
Rules that a route can't express stay closed: a path that needed no login needs one until you open it, and if a
restriction on users can't be expressed, no user gets in (claim not_migrated) until you decide.

  gatehouse migrate oauth2-proxy.cfg > gatehouse.yaml
  gatehouse check --config gatehouse.yaml

docs/migrating.md has tables of all keys, and a plan for the change. Exit status: 0 if the YAML was written, 2 if a file
can't be read.
`,
  async run(args) {
    const { positionals } = readArguments({ args: [...args], options: {}, strict: true, allowPositionals: true })
    if (positionals.length === 0) throw new UsageError('name a file: gatehouse migrate oauth2-proxy.cfg')
    try {
      const migration = migrateFiles(positionals.map(readSource))
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
    throw new UnreadableFile(`${name}: it can't be read (${code})`)
  }
}
