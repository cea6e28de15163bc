import { readFileSync, writeFileSync } from 'node:fs'
import { withChartTables } from './chart-tables.ts'
import { jsonSchema } from './json-schema.ts'
import { withMigrationTables } from './migration-tables.ts'
import { withPresetTables } from './preset-tables.ts'
import { reference } from './reference.ts'
import { withTextTable } from './text-table.ts'

const fromRoot = (path: string): URL => new URL(`../${path}`, import.meta.url)
const example = readFileSync(fromRoot('config/gatehouse.yaml'), 'utf8')

const generated: Record<string, string> = {
  'config/gatehouse.schema.json': `${JSON.stringify(jsonSchema(), null, 2)}\n`,
  'docs/configuration.md': reference(example),
  'docs/browser.md': withTextTable(readFileSync(fromRoot('docs/browser.md'), 'utf8')),
  'docs/migrating.md': withMigrationTables(readFileSync(fromRoot('docs/migrating.md'), 'utf8')),
  'helm/gatehouse/README.md': withChartTables(readFileSync(fromRoot('helm/gatehouse/README.md'), 'utf8')),
  'src/version.ts': versionModule(),
  'docs/providers.md': withPresetTables(readFileSync(fromRoot('docs/providers.md'), 'utf8')),
}

function versionModule(): string {
  const { version }: { version: string } = JSON.parse(readFileSync(fromRoot('package.json'), 'utf8'))
  return (
    '/** The version in package.json. `npm run generate` writes this file. */\n' +
    `export const VERSION = '${version}'\n`
  )
}

function current(path: string): string | null {
  try {
    return readFileSync(fromRoot(path), 'utf8')
  } catch {
    return null
  }
}

const stale = Object.entries(generated).filter(([path, text]) => current(path) !== text)
const onlyCheck = process.argv.includes('--check')
for (const [path, text] of stale) {
  if (!onlyCheck) writeFileSync(fromRoot(path), text)
  const outcome = onlyCheck ? 'is stale: run `npm run generate`' : 'written'
  process.stdout.write(`${path} ${outcome}\n`)
}
if (onlyCheck && stale.length > 0) process.exitCode = 1
