import { migrateApache } from './apache/migrate.ts'
import { type Format, formatOf } from './formats.ts'
import type { Migration, OutputForm, ReadFile } from './migration.ts'
import { migrateOauth2Proxy } from './oauth2-proxy/migrate.ts'
import { type Setting, UnreadableFile } from './setting.ts'
import type { Reading } from './sources.ts'
import { type Store, storesIn } from './readers/workload.ts'
import { migrateWonderwall } from './wonderwall/migrate.ts'

export interface Source {
  readonly name: string
  readonly text: string
}

interface ReadSource extends Source {
  readonly format: Format
  readonly reading: Reading
}

/**
 * Migrates the configuration files of one gateway; throws `UnreadableFile`. `readFile` reads other files that the
 * configuration names. A source that is no configuration, such as a list of addresses, is one of these files.
 */
export function migrateFiles(
  sources: readonly Source[],
  readFile: ReadFile = () => null,
  form: OutputForm = 'config',
): Migration {
  const others = new Set<Source>()
  const opened = new Set<Source>()
  const find: ReadFile = (path, besideFile) => {
    const source = sources.find(({ name }) => nameOf(name) === nameOf(path)) ?? addressList(path, others)
    if (source !== undefined) opened.add(source)
    return source?.text ?? readFile(path, besideFile)
  }
  const files: ReadSource[] = []
  const { toRead, stores } = withoutStores(sources)
  const around = { readFile: find, stores }
  const formats = toRead.map((source) => ({ source, format: formatOf(source.text, source.name, around) }))
  const layered = formats.find(({ format }) => format?.readTogether !== undefined)?.format ?? null
  const layers = formats
    .filter(({ source, format }) => layered !== null && (format ?? ownerOf(source, layered)) === layered)
    .map(({ source }) => source)
  const [layer] = layers
  if (layer !== undefined && layered?.readTogether !== undefined)
    files.push({ ...layer, format: layered, reading: layered.readTogether(layers) })
  for (const { source, format } of formats) {
    if (layers.includes(source)) continue
    if (format === null) others.add(source)
    else files.push({ ...source, format, reading: format.read(source.text, source.name, around) })
  }
  // The reader of a manifest has read the variables of these files already.
  const given = files.filter(
    ({ name, format }) => format.name !== 'environment' || ![...opened].some((one) => one.name === name),
  )
  const [first, another] = new Set(files.map(({ format }) => format.product))
  if (another !== undefined)
    throw new UnreadableFile(`these are files of ${first} and of ${another}: migrate them separately`)
  if (form === 'values' && first !== undefined && first !== 'oauth2-proxy')
    throw new UnreadableFile(`--format values needs files of oauth2-proxy, not of ${first}`)
  if (first === 'mod_auth_openidc' && [...others].every(({ text }) => APACHE_DIRECTIVE.test(text)))
    return migrateApache(toRead, readFile)
  const migration = migrationOf(given, find, form)
  const [unused] = [...others].filter((source) => !opened.has(source))
  if (migration === null || unused !== undefined)
    throw new UnreadableFile(
      `${unused?.name ?? sources[0]?.name ?? 'no file'}: it is not a configuration that this command can read`,
    )
  return migration
}

function ownerOf({ text }: Source, format: Format): Format | null {
  return format.belongsTo?.(text) === true ? format : null
}

/** A directive of Apache without mod_auth_openidc, in a file that its other files include. */
const APACHE_DIRECTIVE =
  /^\s*(?:<(?:VirtualHost|Location|LocationMatch|Directory|Proxy|If|IfModule|IfDefine|Macro)\b|(?:Define|ServerName|ServerAlias|Listen|Include|IncludeOptional|LoadModule|ProxyPass\w*|Rewrite\w+|RequestHeader|Header|SSL\w+|Auth\w+|Require|Use|Alias)\s)/im

interface Stored {
  readonly toRead: readonly Source[]
  readonly stores: readonly Store[]
}

/** Separates files that only have ConfigMaps and Secrets. Without other files, their entries are the configuration. */
function withoutStores(sources: readonly Source[]): Stored {
  const found = sources.map((source) => ({ source, stores: storesIn(source.text, source.name) }))
  const stores = found.flatMap((one) => one.stores ?? [])
  const others = found.flatMap((one) => (one.stores === null ? [one.source] : []))
  return { toRead: others.length > 0 || stores.length === 0 ? others : stores.flatMap(entriesOf), stores }
}

/** Returns the entries of a ConfigMap as files, whose lines have the numbers of the lines in the manifest. */
function entriesOf({ file: name, data }: Store): Source[] {
  return [...data].flatMap(([key, { text, line, linesBefore }]) => {
    if (/^[A-Z][A-Z0-9_]*$/.test(key)) return [{ name, text: `${'\n'.repeat(line - 1)}${key}="${text.trim()}"` }]
    return [{ name, text: `${'\n'.repeat(linesBefore)}${text}` }]
  })
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1)
}

/** Returns the only list of addresses for a file of addresses, because a mount may rename the file. */
function addressList(path: string, others: ReadonlySet<Source>): Source | undefined {
  const lists = [...others].filter(({ text }) => /^\s*[^\s@:=]+@[^\s@:=]+\s*$/m.test(text))
  return lists.length === 1 && /mail|user|access/i.test(nameOf(path)) ? lists[0] : undefined
}

function migrationOf(files: readonly ReadSource[], readFile: ReadFile, form: OutputForm): Migration | null {
  const [file] = files
  if (file === undefined) return null
  const readings = files.map(({ reading }) => reading)
  if (file.format.product === 'Wonderwall') return migrateWonderwall(settingsOf(readings))
  return migrateOauth2Proxy(readings, readFile, form)
}

/** Returns the settings of all sources in the order in which the programs read them. */
function settingsOf(readings: readonly Reading[]): Setting[] {
  return readings
    .flatMap(({ sources }) => sources)
    .toSorted((a, b) => a.rank - b.rank)
    .flatMap(({ settings }) => settings)
}
