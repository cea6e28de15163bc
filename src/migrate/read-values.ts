import { type Entry, textOf } from './entry.ts'
import { keyOfFlag } from './oauth2-proxy/keys.ts'
import { readAlpha } from './read-alpha.ts'
import { readFlags } from './read-flags.ts'
import { readToml } from './read-toml.ts'

/** How the key of a chart's value begins that is no setting of the program. */
export const CHART = 'chart:'

const own: Readonly<Record<string, string>> = {
  clientID: 'client_id',
  clientSecret: 'client_secret',
  cookieSecret: 'cookie_secret',
  cookieName: 'cookie_name',
}

/**
 * The settings in the values of oauth2-proxy's chart, also as a subchart's: `config.configFile` and the keys beside it,
 * then `extraArgs`, which go before it. `extraEnv` is read as an environment is.
 */
export function readValues(text: string, file: string, isSwitch: (key: string) => boolean): Entry[] {
  const entries = readAlpha(text, file).filter(({ key }) => !/(^|\.)extraEnv(\.|$)/.test(key))
  const read = entries.map((entry) => ({ entry, settings: settingsOf(entry, isSwitch) }))
  return [...read.filter(({ entry }) => !isArgument(entry)), ...read.filter(({ entry }) => isArgument(entry))].flatMap(
    ({ settings }) => settings,
  )
}

function isArgument({ key }: Entry): boolean {
  return /(^|\.)extraArgs(\.|$)/.test(key)
}

function settingsOf(entry: Entry, isSwitch: (key: string) => boolean): Entry[] {
  const { key, file, line, value } = entry
  const shifted = (one: Entry): Entry => ({ ...one, line: one.line + line })
  if (/(^|\.)config\.configFile$/.test(key)) return readToml(textOf(entry), file).map(shifted)
  const flag = /(?:^|\.)extraArgs\.([a-z][a-z0-9-]*)$/.exec(key)?.[1]
  if (flag !== undefined) return [{ key: keyOfFlag(flag), written: flag, value, file, line }]
  if (/(^|\.)extraArgs$/.test(key) && Array.isArray(value))
    return readFlags(value.map(String).join('\n'), file, keyOfFlag, isSwitch).map(shifted)
  const name = /(?:^|\.)config\.(\w+)$/.exec(key)?.[1] ?? ''
  const setting = Object.hasOwn(own, name) ? own[name] : undefined
  if (setting !== undefined && !/^X*$/.test(textOf(entry)))
    return [{ key: setting, written: entry.written, value, file, line }]
  return [{ ...entry, key: `${CHART}${key}` }]
}
