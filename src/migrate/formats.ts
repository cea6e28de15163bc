import { withOlderNames } from './oauth2-proxy/alpha-config.ts'
import { readChartValues } from './oauth2-proxy/chart-values.ts'
import { isSwitch, keyOfFlag, keyOfVariable, oauth2Proxy } from './oauth2-proxy/keys.ts'
import { readEnvironment } from './readers/environment.ts'
import { readFlags } from './readers/flags.ts'
import { readToml } from './readers/toml.ts'
import { readYaml } from './readers/yaml.ts'
import type { Setting } from './setting.ts'
import { wonderwallKey } from './wonderwall/keys.ts'

export interface Format {
  readonly name: 'apache' | 'wonderwall' | 'chart' | 'environment' | 'wonderwall-flags' | 'alpha' | 'toml' | 'flags'
  readonly product: 'mod_auth_openidc' | 'oauth2-proxy' | 'Wonderwall'
  /** The programs read a file first, then variables, then flags: a later value overrides an earlier one. */
  readonly precedence: number
  matches(text: string): boolean
  read(text: string, file: string): Setting[]
}

const WONDERWALL_VARIABLE = variableLine('WONDERWALL_[A-Z0-9_]+|IDPORTEN_WELL_KNOWN_URL|AZURE_APP_WELL_KNOWN_URL')
const OAUTH2_PROXY_VARIABLE = variableLine('OAUTH2_PROXY_[A-Z0-9_]+')
const CHART_VALUE = /^\s*(?:configFile:\s*[|>]|extraArgs:\s*(?:$|[[{]))/m
const ALPHA_KEY = /^(?:providers|upstreamConfig|injectRequestHeaders|injectResponseHeaders|server|metricsServer)\s*:/m
const TOML_KEY = /^\s*([A-Za-z0-9_-]+)\s*=/gm
const FLAG = /--([a-z][a-z0-9-]+)/g

/** Matches a line that sets one of these variables in an environment file, shell script, Dockerfile or manifest. */
function variableLine(names: string): RegExp {
  return new RegExp(
    `^\\s*(?:-\\s+\\{?\\s*name:\\s*|-\\s+|export\\s+|ENV\\s+|-e\\s+)*["']?(?:${names})["']?\\s*(?:[=:,]|$)`,
    'm',
  )
}

// The most specific format comes first: a manifest may contain variables and flags, for example.
const formats: readonly Format[] = [
  {
    name: 'apache',
    product: 'mod_auth_openidc',
    precedence: 0,
    matches: (text) =>
      /^\s*OIDC[A-Za-z]+\s/im.test(text) || /^\s*AuthType\s+"?(?:openid-connect|oauth20|auth-openidc)\b/im.test(text),
    // Directives have a meaning only within their sections, which apache/sections.ts reads.
    read: () => [],
  },
  {
    name: 'wonderwall',
    product: 'Wonderwall',
    precedence: 0,
    matches: (text) => WONDERWALL_VARIABLE.test(text),
    read: (text, file) => [...readEnvironment(text, file, wonderwallKey), ...readLongFlags(text, file, sameName)],
  },
  {
    name: 'chart',
    product: 'oauth2-proxy',
    precedence: 2,
    matches: (text) => CHART_VALUE.test(text),
    read: (text, file) => [
      // Drops the names that are not recognized: `readChartValues` reads them as values of a Helm chart.
      ...readEnvironment(text, file, keyOfVariable).filter(({ written }) => keyOfVariable(written) !== null),
      ...readChartValues(text, file),
    ],
  },
  {
    name: 'environment',
    product: 'oauth2-proxy',
    precedence: 3,
    matches: (text) => OAUTH2_PROXY_VARIABLE.test(text),
    read: (text, file) => [
      ...readEnvironment(text, file, keyOfVariable),
      ...readLongFlags(text, file, keyOfFlag, isSwitch),
    ],
  },
  {
    name: 'wonderwall-flags',
    product: 'Wonderwall',
    precedence: 1,
    matches: (text) => /--openid\.[a-z-]+/.test(text),
    read: (text, file) => readFlags(text, file, sameName, noSwitch),
  },
  {
    name: 'alpha',
    product: 'oauth2-proxy',
    precedence: 1,
    matches: (text) => ALPHA_KEY.test(text),
    read: (text, file) => withOlderNames(readYaml(text, file)),
  },
  {
    name: 'toml',
    product: 'oauth2-proxy',
    precedence: 0,
    matches: (text) => [...text.matchAll(TOML_KEY)].some(([, key = '']) => Object.hasOwn(oauth2Proxy, key)),
    read: readToml,
  },
  {
    name: 'flags',
    product: 'oauth2-proxy',
    precedence: 4,
    matches: (text) => [...text.matchAll(FLAG)].some(([, flag = '']) => Object.hasOwn(oauth2Proxy, keyOfFlag(flag))),
    read: (text, file) => readFlags(text, file, keyOfFlag, isSwitch),
  },
]

/** Returns the format of a text, recognized by its content; `null` if the format is unknown. */
export function formatOf(text: string): Format | null {
  return formats.find((format) => format.matches(text)) ?? null
}

/** Reads the flags in a manifest that also has variables; one-letter flags such as `-e` belong to the container runtime. */
function readLongFlags(
  text: string,
  file: string,
  keyOf: (flag: string) => string,
  isSwitchKey: (key: string) => boolean = noSwitch,
): Setting[] {
  return readFlags(text, file, keyOf, isSwitchKey).filter(({ key }) => key.length > 1)
}

function sameName(flag: string): string {
  return flag
}

function noSwitch(): boolean {
  return false
}
