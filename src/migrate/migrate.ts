import { migrateApache } from './apache/migrate.ts'
import { formatOf } from './formats.ts'
import type { Migration, ReadFile } from './migration.ts'
import { migrateOauth2Proxy } from './oauth2-proxy/migrate.ts'
import { UnreadableFile } from './setting.ts'
import { migrateWonderwall } from './wonderwall/migrate.ts'

export interface Source {
  readonly name: string
  readonly text: string
}

/**
 * Migrates the configuration files of one gateway; throws `UnreadableFile`. `readFile` reads other files that the
 * configuration names.
 */
export function migrateFiles(sources: readonly Source[], readFile: ReadFile = () => null): Migration {
  const files = sources
    .map(({ name, text }) => {
      const format = formatOf(text)
      if (format === null) throw new UnreadableFile(`${name}: it is not a configuration that this command can read`)
      return { name, text, format }
    })
    .toSorted((a, b) => a.format.precedence - b.format.precedence)
  const [product, another] = new Set(files.map(({ format }) => format.product))
  if (another !== undefined)
    throw new UnreadableFile(`these are files of ${product} and of ${another}: migrate them separately`)
  if (product === 'mod_auth_openidc') return migrateApache(files, readFile)
  const settings = files.flatMap(({ format, name, text }) => format.read(text, name))
  if (product === 'Wonderwall') return migrateWonderwall(settings)
  return migrateOauth2Proxy(
    settings,
    files.some(({ format }) => format.name === 'alpha'),
    readFile,
  )
}
