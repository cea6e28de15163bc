import { readFileSync } from 'node:fs'
import { NotUnderstood } from '../migrate/not-understood.ts'
import { migrateFiles, type Source } from '../migrate/peer.ts'
import { writeReport, writeYaml } from '../migrate/write.ts'
import { readArguments, UsageError, type Command } from './command.ts'

const READABLE = `It reads:
  oauth2-proxy      its configuration file (oauth2-proxy.cfg), its YAML format (--alpha-config), an environment file
                    with OAUTH2_PROXY_… variables, or the flags of its command line in a file or as Kubernetes args
  mod_auth_openidc  Apache's configuration with OIDC… directives, <VirtualHost> and <Location> included
  Wonderwall        an environment file with WONDERWALL_… variables, or its flags
`

/** `gatehouse migrate`. */
export const migrate: Command = {
  help: `gatehouse migrate FILE [FILE]…

Writes the configuration of another gateway as Gatehouse YAML on stdout. On stderr it names, with their lines, the keys
that mean something else here, those that have no equal, with what to do instead, and all that touches security.
What a file is, its content tells. Give several files of the same gateway together where it reads them together.

${READABLE}
Secrets are written nowhere: the YAML has \${OIDC_CLIENT_SECRET} and the like in their place, and stderr says how to set
them. What can't be said here stays closed: a path that needed no login needs one until you open it, and where users
were told apart in a way that a route can't, nobody gets in (claim not_migrated) until you decide.

  gatehouse migrate oauth2-proxy.cfg > gatehouse.yaml
  gatehouse check --config gatehouse.yaml

docs/migrating.md has the tables, key by key, and the plan for the change. Status: 0 when there is a YAML, 2 when a file
isn't understood.
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
      if (!(error instanceof NotUnderstood)) throw error
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
    throw new NotUnderstood(`${name}: it can't be read (${code})`)
  }
}
