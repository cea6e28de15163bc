import type { Invocation, IsProgram, ProgramNames, UnreadSource } from './invocation.ts'
import type { ReadFile } from './migration.ts'
import { withOlderNames } from './oauth2-proxy/alpha-config.ts'
import { isChart, isFurtherValues, readChartValues } from './oauth2-proxy/chart-values.ts'
import { isList, isReferenced, isSwitch, keyOfFlag, keyOfVariable, oauth2Proxy } from './oauth2-proxy/keys.ts'
import { furtherStart, readScript, readUnit } from './readers/command-line.ts'
import { readEnvironment } from './readers/environment.ts'
import { readFlags } from './readers/flags.ts'
import { readToml } from './readers/toml.ts'
import { readWorkload, type Store } from './readers/workload.ts'
import { readYaml } from './readers/yaml.ts'
import type { Setting } from './setting.ts'
import { RANKS, type Reading, readInvocation } from './sources.ts'
import { wonderwallKey } from './wonderwall/keys.ts'
import { isNaisApplication, readNaisApplication } from './wonderwall/nais.ts'

export interface Format {
  readonly name:
    | 'apache'
    | 'nais'
    | 'wonderwall'
    | 'chart'
    | 'start'
    | 'environment'
    | 'wonderwall-flags'
    | 'alpha'
    | 'toml'
    | 'flags'
  readonly product: 'mod_auth_openidc' | 'oauth2-proxy' | 'Wonderwall'
  matches(text: string, file: string, around: Around): boolean
  read(text: string, file: string, around: Around): Reading
  /** Reads files of which the later ones change parts of the earlier ones. */
  readTogether?(files: readonly { readonly name: string; readonly text: string }[]): Reading
  /** Returns whether a text of unknown format may be a further file of this format. */
  belongsTo?(text: string): boolean
}

/** What a file may refer to. */
interface Around {
  readonly readFile: ReadFile
  /** The ConfigMaps and Secrets of other files. */
  readonly stores: readonly Store[]
}

const WONDERWALL_VARIABLE = variableLine('WONDERWALL_[A-Z0-9_]+|IDPORTEN_WELL_KNOWN_URL|AZURE_APP_WELL_KNOWN_URL')
const OAUTH2_PROXY_VARIABLE = variableLine('OAUTH2_PROXY_[A-Z0-9_]+')
const ALPHA_KEY = /^(?:providers|upstreamConfig|injectRequestHeaders|injectResponseHeaders|server|metricsServer)\s*:/im
const TOML_KEY = /^\s*([A-Za-z0-9_-]+)\s*=/gm
const FLAG = /--([a-z][a-z0-9-]+)/g

/** Matches a line that sets one of these variables in an environment file, shell script, Dockerfile or manifest. */
function variableLine(names: string): RegExp {
  return new RegExp(
    `^\\s*(?:-\\s+\\{?\\s*name:\\s*|-\\s+|export\\s+|ENV\\s+|-e\\s+)*["']?(?:${names})["']?\\s*(?:[=:,]|$)`,
    'm',
  )
}

/** The names of oauth2-proxy's executable and images. */
function isOauth2Proxy(name: string): boolean {
  return (
    !name.includes('://') &&
    /^(?:[^\s=]*\/)?[\w.-]*oauth2[-_]proxy[\w.-]*(?:[:@][\w.:-]+)?$/.test(name) &&
    !/\.(?:cfg|ya?ml|toml|env|sh)$/.test(name)
  )
}

function isWonderwall(name: string): boolean {
  return /^(?:[^\s=]*\/)?wonderwall(?:[:@][\w.:-]+)?$/.test(name)
}

interface Program {
  readonly names: ProgramNames
  readonly isProgram: IsProgram
  readonly isVariable: (name: string) => boolean
  /** Recognizes a flag that other programs do not have. */
  readonly isFlag: (word: string) => boolean
}

const oauth2ProxyProgram: Program = {
  names: { keyOfFlag, isSwitch, isList, keyOfVariable, isReferenced },
  isProgram: isOauth2Proxy,
  isVariable: (name) => keyOfVariable(name) !== null,
  isFlag: (word) => /^--(?:oidc-issuer-url|email-domain|cookie-secret|skip-auth-route|alpha-config)\b/.test(word),
}

const wonderwallProgram: Program = {
  names: {
    keyOfFlag: sameName,
    isSwitch: noSwitch,
    isList: () => true,
    keyOfVariable: wonderwallKey,
    isReferenced: (key) => /client-(?:id|jwk|secret)|redis|encryption/.test(key),
  },
  isProgram: isWonderwall,
  isVariable: (name) => wonderwallKey(name) !== null,
  isFlag: (word) => word.startsWith('--openid.'),
}

/** Reads how a manifest, compose file, unit or script starts the program. Returns `null` for a text of another format. */
function readStart(text: string, file: string, program: Program, around: Around): Reading | null {
  const { readFile, stores } = around
  const found =
    readWorkload(text, file, program, readFile, stores) ??
    readUnit(text, file, program.isProgram, readFile) ??
    readScript(text, file, program.isProgram, readFile)
  const [invocation, ...others] = Array.isArray(found) ? found : found === null ? [] : [found]
  if (invocation === undefined) return null
  return readInvocation(
    { ...invocation, unread: [...invocation.unread, ...others.map(unreadInvocation)] },
    program.names,
  )
}

function unreadInvocation({ file, words, variables }: Invocation): UnreadSource {
  return furtherStart('containers', 'container', words[0]?.line ?? variables[0]?.line ?? 1, file)
}

function fromSource(rank: number, settings: readonly Setting[]): Reading {
  return { sources: [{ rank, settings }] }
}

// The most specific format comes first: a manifest may contain variables and flags, for example.
const formats: readonly Format[] = [
  {
    name: 'apache',
    product: 'mod_auth_openidc',
    matches: (text) =>
      /^\s*OIDC[A-Za-z]+\s/im.test(text) || /^\s*AuthType\s+"?(?:openid-connect|oauth20|auth-openidc)\b/im.test(text),
    // Directives have a meaning only within their sections, which apache/sections.ts reads.
    read: () => ({ sources: [] }),
  },
  {
    name: 'nais',
    product: 'Wonderwall',
    matches: (text) => isNaisApplication(text),
    read: (text, file) => fromSource(RANKS.file, readNaisApplication(text, file)),
  },
  {
    name: 'wonderwall',
    product: 'Wonderwall',
    matches: (text) => WONDERWALL_VARIABLE.test(text),
    read: (text, file, around) =>
      readStart(text, file, wonderwallProgram, around) ?? {
        sources: [
          { rank: RANKS.variables, settings: readEnvironment(text, file, wonderwallKey) },
          { rank: RANKS.flags, settings: readLongFlags(text, file, wonderwallProgram.names) },
        ],
      },
  },
  {
    name: 'chart',
    product: 'oauth2-proxy',
    matches: (text) => isChart(text),
    read: (text, file) => readChartValues([{ name: file, text }], oauth2ProxyProgram.names),
    readTogether: (files) => readChartValues(files, oauth2ProxyProgram.names),
    belongsTo: isFurtherValues,
  },
  {
    name: 'start',
    product: 'oauth2-proxy',
    matches: (text, file, around) => readStart(text, file, oauth2ProxyProgram, around) !== null,
    read: (text, file, around) => readStart(text, file, oauth2ProxyProgram, around) ?? { sources: [] },
  },
  {
    name: 'environment',
    product: 'oauth2-proxy',
    matches: (text) => OAUTH2_PROXY_VARIABLE.test(text),
    read: (text, file) => ({
      sources: [
        { rank: RANKS.variables, settings: readEnvironment(text, file, keyOfVariable) },
        { rank: RANKS.flags, settings: readLongFlags(text, file, oauth2ProxyProgram.names) },
      ],
    }),
  },
  {
    name: 'wonderwall-flags',
    product: 'Wonderwall',
    matches: (text) => /--openid\.[a-z-]+/.test(text),
    read: (text, file, around) =>
      readStart(text, file, wonderwallProgram, around) ??
      fromSource(RANKS.flags, readFlags(text, file, wonderwallProgram.names)),
  },
  {
    name: 'alpha',
    product: 'oauth2-proxy',
    matches: (text) => ALPHA_KEY.test(text),
    read: (text, file) => fromSource(RANKS.alpha, withOlderNames(readYaml(text, file))),
  },
  {
    name: 'toml',
    product: 'oauth2-proxy',
    matches: (text) => [...text.matchAll(TOML_KEY)].some(([, key = '']) => Object.hasOwn(oauth2Proxy, key)),
    read: (text, file) => fromSource(RANKS.file, readToml(text, file)),
  },
  {
    name: 'flags',
    product: 'oauth2-proxy',
    matches: (text) => [...text.matchAll(FLAG)].some(([, flag = '']) => Object.hasOwn(oauth2Proxy, keyOfFlag(flag))),
    read: (text, file) => fromSource(RANKS.flags, readFlags(text, file, oauth2ProxyProgram.names)),
  },
]

/** Returns the format of a text, recognized by its content; `null` if the format is unknown. */
export function formatOf(text: string, file: string, around: Around): Format | null {
  return formats.find((format) => format.matches(text, file, around)) ?? null
}

/** Reads the flags in a manifest that also has variables; one-letter flags such as `-e` belong to the container runtime. */
function readLongFlags(text: string, file: string, names: ProgramNames): Setting[] {
  return readFlags(text, file, names).filter(({ key }) => key.length > 1)
}

function sameName(flag: string): string {
  return flag
}

function noSwitch(): boolean {
  return false
}
