import { sitesOf, readSites } from './apache/sites.ts'
import { assembleRoutes } from './assemble.ts'
import { type Draft, newDraft, place, remark } from './draft.ts'
import type { Entry } from './entry.ts'
import { finishDirectives, modAuthOpenidc } from './apache/keys.ts'
import { NotUnderstood } from './not-understood.ts'
import { finishAccess } from './oauth2-proxy/access.ts'
import { alphaRules, finishAlpha, inOlderNames } from './oauth2-proxy/alpha.ts'
import { finishHeaders } from './oauth2-proxy/headers.ts'
import { finishFlags, finishProvider, finishServing } from './oauth2-proxy/provider.ts'
import { finishUpstreams } from './oauth2-proxy/routes.ts'
import { finishStore } from './oauth2-proxy/store.ts'
import { keyOfFlag, oauth2Proxy } from './oauth2-proxy/keys.ts'
import { readAlpha } from './read-alpha.ts'
import { readApache } from './read-apache.ts'
import { readEnvironment } from './read-environment.ts'
import { readFlags } from './read-flags.ts'
import { readToml } from './read-toml.ts'
import { CHART, readValues } from './read-values.ts'
import { applyRules, nameTheRest, type Rules } from './rule.ts'
import { finishVerdicts } from './verdicts.ts'
import { finishWonderwall, wonderwall, wonderwallKey } from './wonderwall.ts'

/** A file as it was given. */
export interface Source {
  readonly name: string
  readonly text: string
}

/** What the peer's files have become. */
export interface Migration {
  readonly peer: string
  readonly entries: readonly Entry[]
  readonly draft: Draft
}

type Format = 'toml' | 'alpha' | 'values' | 'environment' | 'flags' | 'apache' | 'wonderwall' | 'wonderwall flags'

const peers: Readonly<Record<Format, string>> = {
  'toml': 'oauth2-proxy',
  'alpha': 'oauth2-proxy',
  'values': 'oauth2-proxy',
  'environment': 'oauth2-proxy',
  'flags': 'oauth2-proxy',
  'apache': 'mod_auth_openidc',
  'wonderwall': 'Wonderwall',
  'wonderwall flags': 'Wonderwall',
}

/** What goes before what, in the programs: a file, then variables, then flags. */
const precedence: readonly Format[] = [
  'toml',
  'alpha',
  'values',
  'environment',
  'flags',
  'wonderwall',
  'wonderwall flags',
]

const wonderwallVariable = variable('WONDERWALL_[A-Z0-9_]+|IDPORTEN_WELL_KNOWN_URL|AZURE_APP_WELL_KNOWN_URL')
const oauth2ProxyVariable = variable('OAUTH2_PROXY_[A-Z0-9_]+')

/** A line that sets one of these variables, in an environment file, a shell, a Dockerfile or a manifest. */
function variable(names: string): RegExp {
  return new RegExp(
    `^\\s*(?:-\\s+\\{?\\s*name:\\s*|-\\s+|export\\s+|ENV\\s+|-e\\s+)*["']?(?:${names})["']?\\s*(?:[=:,]|$)`,
    'm',
  )
}
const tomlKey = /^\s*([A-Za-z0-9_-]+)\s*=/gm
const chartValue = /^\s*(?:configFile:\s*[|>]|extraArgs:\s*(?:$|[[{]))/m
const alphaKey = /^(?:providers|upstreamConfig|injectRequestHeaders|injectResponseHeaders|server|metricsServer)\s*:/m

/** Tells whose configuration a text is, by what stands in it; throws `NotUnderstood` when it is nobody's. */
function formatOf({ name, text }: Source): Format {
  if (/^\s*OIDC[A-Za-z]+\s/im.test(text) || /^\s*AuthType\s+"?(?:openid-connect|oauth20|auth-openidc)\b/im.test(text))
    return 'apache'
  if (wonderwallVariable.test(text)) return 'wonderwall'
  if (chartValue.test(text)) return 'values'
  if (oauth2ProxyVariable.test(text)) return 'environment'
  if (/--openid\.[a-z-]+/.test(text)) return 'wonderwall flags'
  if (alphaKey.test(text)) return 'alpha'
  if ([...text.matchAll(tomlKey)].some(([, key = '']) => Object.hasOwn(oauth2Proxy, key))) return 'toml'
  if ([...text.matchAll(/--([a-z][a-z0-9-]+)/g)].some(([, flag = '']) => Object.hasOwn(oauth2Proxy, keyOfFlag(flag))))
    return 'flags'
  throw new NotUnderstood(`${name}: it is no configuration that this command can read`)
}

function entriesOf(format: Format, { name, text }: Source): Entry[] {
  switch (format) {
    case 'toml':
      return readToml(text, name)
    case 'alpha':
      return inOlderNames(readAlpha(text, name))
    case 'values':
      return [...environmentOf(text, name), ...readValues(text, name, isSwitch)]
    case 'environment':
      return [...readEnvironment(text, name, oauth2ProxyKey), ...longFlags(text, name, keyOfFlag, isSwitch)]
    case 'flags':
      return readFlags(text, name, keyOfFlag, isSwitch)
    case 'wonderwall':
      return [...readEnvironment(text, name, wonderwallKey), ...longFlags(text, name, (flag) => flag)]
    case 'wonderwall flags':
      return readFlags(
        text,
        name,
        (flag) => flag,
        () => false,
      )
    case 'apache':
      return []
  }
}

/** The flags beside variables, as manifests and compose files have both; `-e` and its like are the container's. */
function longFlags(
  text: string,
  name: string,
  keyOf: (flag: string) => string,
  isSwitchKey: (key: string) => boolean = () => false,
): Entry[] {
  return readFlags(text, name, keyOf, isSwitchKey).filter(({ key }) => key.length > 1)
}

/** The variables of oauth2-proxy's alone: what else stands in a chart's values has keys of its own. */
function environmentOf(text: string, name: string): Entry[] {
  return readEnvironment(text, name, oauth2ProxyKey).filter(({ written }) => oauth2ProxyKey(written) !== null)
}

/** The key of a variable of oauth2-proxy's; `null` when it is another program's. */
function oauth2ProxyKey(name: string): string | null {
  return name.startsWith('OAUTH2_PROXY_') ? name.slice('OAUTH2_PROXY_'.length).toLowerCase() : null
}

/** How the keys begin that stand for yes or no. */
const SWITCHES = [
  'reverse_proxy',
  'force_',
  'relative_',
  'skip_',
  'insecure_',
  'ssl_',
  'pass_',
  'set_',
  'prefer_',
  'cookie_(?:secure|httponly|csrf_per_request$)',
  'redis_(?:use|insecure)',
  'auth_logging$',
  'request_logging$',
  'standard_logging$',
  'silence_',
  'encode_',
  'allow_query',
  'bearer_token',
  'gcp_',
  'proxy_websockets',
  'disable_',
  'use_system',
  'display_',
  'show_debug',
  'session_cookie_minimal',
  'logging_(?:local|compress)',
  'errors_to',
  'entra_id_federated',
]
const switches = new RegExp(`^(?:${SWITCHES.join('|')})`)

function isSwitch(key: string): boolean {
  return switches.test(key) && !/^skip_auth_(?:regex|routes)$/.test(key)
}

/** Reads one peer's files into a draft; throws `NotUnderstood`. */
export function migrateFiles(sources: readonly Source[]): Migration {
  const read = sources
    .map((source) => ({ source, format: formatOf(source) }))
    .toSorted((a, b) => precedence.indexOf(a.format) - precedence.indexOf(b.format))
  const names = [...new Set(read.map(({ format }) => peers[format]))]
  const [peer = '', another] = names
  if (another !== undefined)
    throw new NotUnderstood(`these are files of ${peer} and of ${another}: migrate them one by one`)
  if (peer === 'mod_auth_openidc') return fromApache(sources)
  const entries = read.flatMap(({ source, format }) => entriesOf(format, source))
  return peer === 'Wonderwall'
    ? fromWonderwall(entries)
    : fromOauth2Proxy(
        entries,
        read.some(({ format }) => format === 'alpha'),
      )
}

const unknownTo =
  (peer: string) =>
  (key: string): string =>
    key.startsWith(CHART)
      ? "it is a value of the peer's chart: look whether helm/gatehouse has its equal"
      : /^(?!WONDERWALL_)[A-Z]/.test(key) && peer !== 'mod_auth_openidc'
        ? 'it is a variable of something else, and is left out'
        : `it is not a key of ${peer} that this command knows: look up what it did, and whether it is needed`

/** Leaves out what another source has again: the program takes one of them, and does not add them up. */
function overrule(entries: readonly Entry[], draft: Draft): void {
  for (const entry of entries) {
    const last = draft.given.get(entry.key)
    if (last !== undefined && last !== entry && last.written !== entry.written)
      remark(draft, 'differs', entry, `${last.written} (${place(last)}) goes before it, and it is left out`)
  }
}

function fromOauth2Proxy(entries: readonly Entry[], isAlpha: boolean): Migration {
  const draft = newDraft(entries)
  if (!isAlpha) overrule(entries, draft)
  const rules: Rules = isAlpha ? alphaRules : oauth2Proxy
  applyRules(rules, entries, draft, unknownTo('oauth2-proxy'))
  finishProvider(draft)
  finishAccess(draft)
  finishStore(draft)
  if (isAlpha) finishAlpha(entries, draft)
  finishUpstreams(draft)
  finishHeaders(draft, !isAlpha)
  finishServing(draft)
  finishVerdicts(draft)
  finishFlags(draft)
  assembleRoutes(draft)
  nameTheRest(rules, entries, draft)
  return { peer: 'oauth2-proxy', entries, draft }
}

function fromWonderwall(entries: readonly Entry[]): Migration {
  const draft = newDraft(entries)
  overrule(entries, draft)
  applyRules(wonderwall, entries, draft, unknownTo('Wonderwall'))
  finishWonderwall(draft)
  assembleRoutes(draft)
  nameTheRest(wonderwall, entries, draft)
  return { peer: 'Wonderwall', entries, draft }
}

const directiveNames = new Map(Object.keys(modAuthOpenidc).map((name) => [name.toLowerCase(), name]))

function fromApache(sources: readonly Source[]): Migration {
  const read = sources.map(({ name, text }) =>
    sitesOf(readApache(text, name), name, (directive) => directiveNames.get(directive.toLowerCase()) ?? directive),
  )
  const entries = read.flatMap((sites) => sites.entries)
  const draft = newDraft(read.flatMap(({ general }) => general))
  for (const sites of read) readSites(sites, draft)
  applyRules(modAuthOpenidc, entries, draft, (key) =>
    key.startsWith('OIDC')
      ? unknownTo('mod_auth_openidc')(key)
      : "Apache's own, and not read here: leave it with the web server, or look for its equal",
  )
  finishDirectives(draft)
  assembleRoutes(draft)
  nameTheRest(modAuthOpenidc, entries, draft)
  return { peer: 'mod_auth_openidc', entries, draft }
}
