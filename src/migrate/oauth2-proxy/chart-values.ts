import { readFlags } from '../readers/flags.ts'
import { readToml } from '../readers/toml.ts'
import { readYaml } from '../readers/yaml.ts'
import { type Setting, textOf } from '../setting.ts'
import { isSwitch, keyOfFlag } from './keys.ts'

/** The prefix for keys of the chart that are not settings of the program. */
export const CHART = 'chart:'

const CONFIG_VALUES: Readonly<Record<string, string>> = {
  clientID: 'client_id',
  clientSecret: 'client_secret',
  cookieSecret: 'cookie_secret',
  cookieName: 'cookie_name',
}

/**
 * Reads the settings in the values of oauth2-proxy's chart, also as a subchart: `config.configFile` and the keys beside
 * it, then `extraArgs`, which override them. `extraEnv` is read as an environment.
 */
export function readChartValues(text: string, file: string): Setting[] {
  const values = readYaml(text, file).filter(({ key }) => !/(^|\.)extraEnv(\.|$)/.test(key))
  return [...values.filter((value) => !isArgument(value)), ...values.filter(isArgument)].flatMap(settingsOf)
}

function isArgument({ key }: Setting): boolean {
  return /(^|\.)extraArgs(\.|$)/.test(key)
}

function settingsOf(chartValue: Setting): Setting[] {
  const { key, file, line, value } = chartValue
  const shifted = (setting: Setting): Setting => ({ ...setting, line: setting.line + line })
  if (/(^|\.)config\.configFile$/.test(key)) return readToml(textOf(chartValue), file).map(shifted)
  const flag = /(?:^|\.)extraArgs\.([a-z][a-z0-9-]*)$/.exec(key)?.[1]
  if (flag !== undefined) return [{ key: keyOfFlag(flag), written: flag, value, file, line }]
  if (/(^|\.)extraArgs$/.test(key) && Array.isArray(value))
    return readFlags(value.map(String).join('\n'), file, keyOfFlag, isSwitch).map(shifted)
  const name = /(?:^|\.)config\.(\w+)$/.exec(key)?.[1] ?? ''
  const configKey = Object.hasOwn(CONFIG_VALUES, name) ? CONFIG_VALUES[name] : undefined
  // The chart's default values are placeholders such as XXXXXXX.
  if (configKey !== undefined && !/^X*$/.test(textOf(chartValue)))
    return [{ key: configKey, written: chartValue.written, value, file, line }]
  return [{ ...chartValue, key: `${CHART}${key}` }]
}
