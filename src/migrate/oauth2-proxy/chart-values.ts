import type { MountedFile, Origin, ProgramNames } from '../invocation.ts'
import { type Cursor, cursorsOf } from '../readers/cursor.ts'
import { flagsOf } from '../readers/flags.ts'
import { readToml } from '../readers/toml.ts'
import { readVariables } from '../readers/workload.ts'
import { readYaml, settingsIn } from '../readers/yaml.ts'
import { type Setting, UNREAD, UnreadableFile } from '../setting.ts'
import { RANKS, type Reading, readInvocation, type Source } from '../sources.ts'
import { variableToken } from '../variable.ts'
import { withOlderNames } from './alpha-config.ts'

/** The prefix for keys of the chart that are not settings of the program. */
const CHART = 'chart:'
const SEPARATOR = '\0'

/** Returns the names that lead to a value of the chart, which may contain dots; `null` for settings of the program. */
export function chartPathOf(key: string): string[] | null {
  return key.startsWith(CHART) ? key.slice(CHART.length).split(SEPARATOR) : null
}

function chartKey(path: readonly string[]): string {
  return `${CHART}${path.join(SEPARATOR)}`
}

/** Returns whether a text is the values of oauth2-proxy's chart, also as a subchart. */
export function isChart(text: string): boolean {
  const mayBe =
    /^\s*(?:config|extraArgs|extraEnv|alphaConfig|sessionStorage|redis-ha|authenticatedEmailsFile)\s*:/m.test(text) ||
    /\bname:\s*["']?extraArgs\./.test(text)
  return mayBe && valuesIn(text, '') !== null
}

interface Values {
  readonly values: Cursor
  /** What leads to the values of a subchart, such as `auth.`. */
  readonly prefix: string
  /** Values that Argo CD sets one by one, which override the others. */
  readonly parameters: readonly Cursor[]
}

function valuesIn(text: string, file: string): Values | null {
  const documents = (cursorsOf(text, file) ?? []).filter((root) => root.isMapping())
  const releases = documents.filter((root) => root.get('kind') !== undefined)
  const [root, another] = releases.length > 0 ? releases.filter((one) => helmOf(one) !== null) : documents
  if (root === undefined || another !== undefined || root.get('services') !== undefined) return null
  if (root.get('kind') === undefined) return chartIn(root)
  const { values, text: block, parameters = [] } = helmOf(root) ?? {}
  const found = values === undefined ? null : chartIn(values)
  if (found !== null) return { ...found, parameters }
  // The values are a block of text, whose lines keep their numbers.
  const inner =
    block === undefined ? undefined : cursorsOf(`${'\n'.repeat(block.linesBefore)}${block.text() ?? ''}`, file)?.[0]
  const inText = inner === undefined ? null : chartIn(inner)
  if (inText !== null) return { ...inText, parameters }
  const isSet = parameters.some((one) => one.get('name')?.text()?.startsWith('extraArgs.') === true)
  const given = inner ?? values ?? cursorsOf('{}', file)?.[0]
  return isSet && given !== undefined ? { values: given, prefix: '', parameters } : null
}

interface Helm {
  readonly values?: Cursor
  readonly text?: Cursor
  readonly parameters?: readonly Cursor[]
}

/** Returns the values in an object of Flux or of Argo CD. */
function helmOf(object: Cursor): Helm | null {
  const flux = object.get('spec', 'values')
  if (flux !== undefined) return { values: flux }
  const sources = [object.get('spec', 'source'), ...(object.get('spec', 'sources')?.items() ?? [])]
  for (const helm of sources.flatMap((source) => source?.get('helm') ?? [])) {
    const [values, text] = [helm.get('valuesObject'), helm.get('values')]
    const parameters = helm.get('parameters')?.items() ?? []
    if (values === undefined && text === undefined && parameters.length === 0) continue
    return { ...(values === undefined ? {} : { values }), ...(text === undefined ? {} : { text }), parameters }
  }
  return null
}

/** Returns the values of the chart, or of the chart as a subchart. */
function chartIn(root: Cursor): Values | null {
  if (isOfChart(root)) return { values: root, prefix: '', parameters: [] }
  const [name, values] = root.entries().find(([, member]) => isOfChart(member)) ?? []
  return name === undefined || values === undefined ? null : { values, prefix: `${name}.`, parameters: [] }
}

/** Returns the mapping in a file that has only one; `null` for other texts and for compose files. */
function mappingIn(text: string, file: string): Cursor | null {
  const [root, another] = cursorsOf(text, file) ?? []
  if (root === undefined || another !== undefined || !root.isMapping()) return null
  return root.get('services') === undefined ? root : null
}

/** Returns whether a text may be further values for a chart, such as those of one cluster. */
export function isFurtherValues(text: string): boolean {
  const root = mappingIn(text, '')
  return root !== null && root.get('kind') === undefined && root.get('apiVersion') === undefined
}

function isOfChart(values: Cursor): boolean {
  const config = values.get('config')
  return (
    values.get('alphaConfig', 'enabled') !== undefined ||
    ['authenticatedEmailsFile', 'extraArgs', 'sessionStorage', 'redis-ha'].some(
      (name) => values.get(name) !== undefined,
    ) ||
    ['clientID', 'clientSecret', 'cookieSecret', 'configFile', 'existingConfig', 'emailDomains'].some(
      (name) => config?.get(name) !== undefined,
    ) ||
    (values.get('extraEnv')?.items() ?? []).some((one) => one.get('name')?.text()?.startsWith('OAUTH2_PROXY_') === true)
  )
}

/** Reads the settings in files of values, of which the last takes precedence, as the chart passes them to the program. */
export function readChartValues(
  files: readonly { readonly name: string; readonly text: string }[],
  names: ProgramNames,
): Reading {
  const found = files.map(({ name, text }) => ({ file: name, own: valuesIn(text, name), root: mappingIn(text, name) }))
  const prefix = found.flatMap(({ own }) => own?.prefix ?? [])[0] ?? ''
  let values: Cursor | undefined
  for (const { own, root } of found) {
    const layer = own?.values ?? (prefix === '' ? root : root?.get(prefix.slice(0, -1)))
    if (layer !== undefined && layer !== null) values = values === undefined ? layer : layer.over(values)
  }
  if (values === undefined)
    throw new UnreadableFile(`${files[0]?.name ?? 'no file'}: it is not the values of oauth2-proxy's chart`)
  const reading = new ChartReader(values, prefix, names).read()
  const parameters = found.flatMap(({ own, file }) => (own?.parameters ?? []).map((one) => parameterOf(one, file)))
  const flags = parameters.flatMap((one) => {
    const [, flag] = /^extraArgs\.([\w-]+)(?:\[\d+\])?$/.exec(one.written) ?? []
    return flag === undefined ? [] : [{ text: `--${flag}=${one.value}`, line: one.line }]
  })
  const others = parameters.filter(({ written }) => !written.startsWith('extraArgs.'))
  const added: Source[] = [
    { rank: RANKS.flags, settings: flagsOf(flags, parameters[0]?.file ?? '', names) },
    { rank: RANKS.file, settings: others.map((one) => ({ ...one, value: '' })) },
  ]
  return { ...reading, sources: [...reading.sources, ...added] }
}

/** Reads a value that Argo CD sets by its name; as a setting it only has a remark. */
function parameterOf(parameter: Cursor, file: string): Setting & { readonly value: string } {
  const written = parameter.get('name')?.text() ?? 'parameters'
  const text = 'this parameter of Argo CD is not carried over: write it into the values'
  const value = parameter.get('value')?.text() ?? ''
  return { key: UNREAD, written, value, file, line: parameter.line, note: { grade: 'security', text } }
}

const FILE_KEYS = ['authenticatedEmailsFile', 'htpasswdFile']
const EMAILS_PATH = '/etc/oauth2-proxy/authenticated-emails'

const CLIENT = [
  ['clientID', 'client-id', 'client_id'],
  ['clientSecret', 'client-secret', 'client_secret'],
  ['cookieSecret', 'cookie-secret', 'cookie_secret'],
] as const

const GOOGLE = {
  adminEmail: 'google_admin_email',
  serviceAccountJson: 'google_service_account_json',
  existingSecret: 'google_service_account_json',
  useApplicationDefaultCredentials: 'google_use_application_default_credentials',
  targetPrincipal: 'google_target_principal',
  groups: 'google_groups',
} as const

const LIST_OF_ARGUMENT = {
  grade: 'security',
  text:
    'the items of the list are carried over; the chart of oauth2-proxy passed the list as one text in brackets, which a ' +
    'regular expression reads as a set of characters that may match every path',
} as const

class ChartReader {
  readonly #values: Cursor
  readonly #prefix: string
  readonly #names: ProgramNames
  /** The values that become settings. */
  readonly #read = new Set<string>()
  readonly #sources: Source[] = []
  readonly #files: MountedFile[] = []
  readonly #origins = new Map<string, Origin>()
  readonly #defaults: Setting[] = []

  constructor(values: Cursor, prefix: string, names: ProgramNames) {
    this.#values = values
    this.#prefix = prefix
    this.#names = names
  }

  read(): Reading {
    const isAlpha = this.#text('alphaConfig.enabled') === 'true'
    this.#readConfig(isAlpha)
    this.#readNames()
    if (isAlpha) this.#readAlpha()
    this.#readEnvironment()
    this.#readStore()
    this.#readArguments()
    this.#readFiles()
    const deployment = leavesOf(this.#values, []).filter(
      ([path]) => ![...this.#read].some((one) => isWithin(path.join('.'), one)),
    )
    this.#add(
      RANKS.file,
      deployment.map(([path, cursor]) => this.#setting(path.join('.'), cursor, chartKey(path), cursor.toJS())),
    )
    return {
      sources: this.#sources,
      files: this.#files,
      origins: this.#origins,
      ...this.#hosts(),
      chart: { defaults: this.#defaults },
    }
  }

  #hosts(): Pick<Reading, 'hosts'> {
    const hosts = this.#values.get('ingress', 'hosts')
    const names = (hosts?.items() ?? []).map((item) => item.text() ?? '')
    if (hosts === undefined || this.#values.get('ingress', 'enabled')?.text() !== 'true') return {}
    return { hosts: this.#setting('ingress.hosts', hosts, 'ingress hosts', names) }
  }

  #add(rank: number, settings: readonly Setting[]): void {
    this.#sources.push({ rank, settings })
  }

  #setting(path: string, cursor: Cursor, key: string, value: unknown): Setting {
    return { key, written: `${this.#prefix}${path}`, value, file: cursor.file, line: cursor.line }
  }

  /** Returns a value that is neither empty nor missing, and marks it as read. */
  #given(path: string): Cursor | null {
    const cursor = this.#values.get(...path.split('.'))
    if (cursor === undefined) return null
    this.#read.add(path)
    const text = cursor.text()
    return text === '' || (text === undefined && cursor.items().length === 0 && cursor.entries().length === 0)
      ? null
      : cursor
  }

  #text(path: string): string | undefined {
    return this.#given(path)?.text()
  }

  /** Returns the setting of a value, or no setting if the value is not given. */
  #settings(path: string, key: string): Setting[] {
    const cursor = this.#given(path)
    return cursor === null ? [] : [this.#setting(path, cursor, key, cursor.toJS())]
  }

  #readConfig(isAlpha: boolean): void {
    const file = this.#given('config.configFile')
    const external = this.#given('config.existingConfig')
    if (external !== null) this.#unread('config.existingConfig', external, `the ConfigMap ${external.text() ?? ''}`)
    if (file !== null) {
      const settings = readToml(file.text() ?? '', file.file)
      this.#add(
        RANKS.file,
        settings.map((one) => ({ ...one, line: one.line + file.linesBefore })),
      )
    } else if (external === null) {
      this.#add(RANKS.file, [
        ...this.#settings('config.emailDomains', 'email_domains'),
        ...(isAlpha ? [] : this.#settings('config.upstreams', 'upstreams')),
      ])
      // Older versions of the chart wrote no file if `configFile` is empty, and then a list of addresses had an effect.
      const hasList = this.#text('authenticatedEmailsFile.enabled') === 'true'
      const isEmpty = hasList && this.#values.get('config', 'configFile')?.text() === ''
      const writesNoFile = isEmpty || (!isAlpha && this.#text('config.forceLegacyConfig') === 'false')
      if (writesNoFile || this.#given('config.emailDomains') !== null) return
      // Without a file of its own, the chart writes one that lets in every user.
      const line = this.#values.get('config')?.line ?? 1
      const note = { grade: 'builtin', text: "the chart's default, which lets in every user" } as const
      const at = { file: (this.#values.get('config') ?? this.#values).file, line }
      this.#defaults.push({ ...at, key: 'email_domains', written: 'email_domains', value: ['*'], note })
      if (!isAlpha && this.#given('config.upstreams') === null)
        this.#defaults.push({ ...at, key: 'upstreams', written: 'upstreams', value: ['file:///dev/null'] })
    }
  }

  #readNames(): void {
    this.#add(RANKS.flags, this.#settings('config.cookieName', 'cookie_name'))
    const google = Object.entries(GOOGLE).flatMap(([name, key]) => this.#settings(`config.google.${name}`, key))
    this.#add(RANKS.flags, google)
  }

  #unread(path: string, cursor: Cursor, what: string): void {
    const text = `${what} is not in this file: what it sets or protects is not carried over; name the file with it as well`
    this.#add(RANKS.file, [{ ...this.#setting(path, cursor, UNREAD, ''), note: { grade: 'security', text } }])
  }

  #readAlpha(): void {
    const texts = ['configFile', 'configData', 'serverConfigData', 'metricsConfigData'].flatMap((name) => {
      const cursor = this.#given(`alphaConfig.${name}`)
      return cursor === null ? [] : [{ name, cursor }]
    })
    for (const name of ['existingConfig', 'existingSecret']) {
      const cursor = this.#given(`alphaConfig.${name}`)
      const kind = name === 'existingConfig' ? 'ConfigMap' : 'Secret'
      if (cursor !== null) this.#unread(`alphaConfig.${name}`, cursor, `the ${kind} ${cursor.text() ?? ''}`)
    }
    for (const { name, cursor } of texts) {
      const text = cursor.text()
      const section = { serverConfigData: 'server', metricsConfigData: 'metricsServer' }[name]
      const settings =
        text === undefined
          ? settingsIn(cursor, section)
          : readYaml(text, cursor.file).map((one) => ({ ...one, line: one.line + cursor.linesBefore }))
      this.#add(RANKS.alpha, withOlderNames(settings))
    }
  }

  /** Reads the client, which the chart puts into a Secret and variables, and `extraEnv` and `envFrom`. */
  #readEnvironment(): void {
    const [extra, from] = [this.#given('extraEnv'), this.#given('envFrom')]
    const { file } = extra ?? from ?? this.#values
    const environment = readVariables(extra?.items() ?? [], from?.items() ?? [], file)
    const existing = this.#given('config.existingSecret')
    const isOff = this.#text('proxyVarsAsSecrets') === 'false'
    const keys = this.#given('config.requiredSecretKeys')
      ?.items()
      .map((item) => item.text())
    const client = CLIENT.flatMap(([name, secretKey, key]): Setting[] => {
      const path = `config.${name}`
      const written = this.#given(path)
      const isGiven = written !== null && !/^X*$/.test(written.text() ?? '')
      // A client id beside `existingSecret` is the same as in the Secret, and no secret.
      if (isGiven && (existing === null || key === 'client_id'))
        return [this.#setting(path, written, key, written.toJS())]
      if (existing === null || isOff || keys?.includes(secretKey) === false) return []
      const variable = `OAUTH2_PROXY_${key.toUpperCase()}`
      return environment.variables.some((one) => one.name === variable)
        ? []
        : [this.#fromSecret('config.existingSecret', existing, key, variable, secretKey)]
    })
    this.#add(RANKS.variables, client)
    // Variables of other programs, such as HTTPS_PROXY, are values of the deployment.
    const isOther = (name: string): boolean => this.#names.keyOfVariable(name) === null
    const others = (extra?.items() ?? []).filter((item) => isOther(item.get('name')?.text() ?? ''))
    const kept = { extraEnv: others.map((item) => item.toJS()), envFrom: from?.toJS() }
    for (const [name, value] of Object.entries(kept)) {
      const cursor = name === 'envFrom' ? from : (others[0] ?? null)
      if (cursor !== null) this.#add(RANKS.file, [this.#setting(name, cursor, chartKey([name]), value)])
    }
    for (const { name, origin } of environment.variables) if (origin !== undefined) this.#origins.set(name, origin)
    const variables = environment.variables.filter(({ name }) => !isOther(name))
    const read = readInvocation({ file, words: [], files: [], unread: environment.unread, variables }, this.#names)
    this.#sources.push(...read.sources)
  }

  /** Returns a setting whose value is in a Secret. */
  #fromSecret(path: string, secret: Cursor, key: string, variable: string, secretKey: string): Setting {
    const name = secret.text() ?? ''
    const text = `key ${secretKey} of the Secret ${name}`
    this.#origins.set(variable, { text, valueFrom: { secretKeyRef: { name, key: secretKey } } })
    return { ...this.#setting(path, secret, key, variableToken(variable)), origin: text }
  }

  /** Reads `sessionStorage`, which the chart passes as variables. */
  #readStore(): void {
    const type = this.#settings('sessionStorage.type', 'session_store_type')
    this.#read.add('sessionStorage')
    if (type[0]?.value !== 'redis') return this.#add(RANKS.variables, type)
    const redis = 'sessionStorage.redis'
    const kind = this.#text(`${redis}.clientType`) ?? 'standalone'
    const client = this.#values.get(...redis.split('.'), 'clientType')
    const at = kind === 'standalone' ? 'standalone.connectionUrl' : `${kind}.connectionUrls`
    const key = kind === 'standalone' ? 'redis_connection_url' : `redis_${kind}_connection_urls`
    this.#add(RANKS.variables, [
      ...type,
      ...this.#settings(`${redis}.${at}`, key),
      ...(kind === 'standalone' || client === undefined
        ? []
        : [this.#setting(`${redis}.clientType`, client, `redis_use_${kind}`, 'true')]),
      ...(kind === 'sentinel' ? this.#settings(`${redis}.sentinel.masterName`, 'redis_sentinel_master_name') : []),
      ...this.#password(redis, 'redis_password', 'redis-password'),
      ...(kind === 'sentinel'
        ? this.#password(`${redis}.sentinel`, 'redis_sentinel_password', 'redis-sentinel-password')
        : []),
    ])
  }

  #password(path: string, key: string, defaultKey: string): Setting[] {
    const secret = this.#given(`${path}.existingSecret`)
    if (secret === null) return this.#settings(`${path}.password`, key)
    const secretKey = this.#text(`${path}.passwordKey`) ?? defaultKey
    return [this.#fromSecret(`${path}.existingSecret`, secret, key, `OAUTH2_PROXY_${key.toUpperCase()}`, secretKey)]
  }

  #readArguments(): void {
    const extra = this.#given('extraArgs')
    const words = (extra?.items() ?? []).map((item) => ({ text: item.text() ?? '', line: item.line }))
    const members = (extra?.entries() ?? []).map(([flag, value]): Setting => {
      const at = { key: this.#names.keyOfFlag(flag), written: flag, file: value.file, line: value.line }
      if (!value.isList()) return { ...at, value: value.text() ?? 'true' }
      return { ...at, value: value.toJS(), lines: value.items().map(({ line }) => line), note: LIST_OF_ARGUMENT }
    })
    this.#add(RANKS.flags, [...flagsOf(words, (extra ?? this.#values).file, this.#names), ...members])
  }

  /** Reads the list of addresses and the local users, which the chart mounts as files. */
  #readFiles(): void {
    const [emails, users] = FILE_KEYS.map((name) => this.#values.get(name))
    if (emails !== undefined && this.#text('authenticatedEmailsFile.enabled') === 'true') {
      this.#read.add('authenticatedEmailsFile')
      const list = this.#given('authenticatedEmailsFile.restricted_access')
      const path = this.#text('authenticatedEmailsFile.template') ?? EMAILS_PATH
      if (list !== null)
        this.#files.push({ path, text: list.text() ?? '', file: list.file, linesBefore: list.linesBefore })
      this.#add(RANKS.flags, [
        this.#setting('authenticatedEmailsFile', list ?? emails, 'authenticated_emails_file', path),
      ])
    }
    if (users !== undefined && this.#text('htpasswdFile.enabled') === 'true') {
      this.#read.add('htpasswdFile')
      this.#add(RANKS.flags, [this.#setting('htpasswdFile', users, 'htpasswd_file', 'users.txt')])
    }
  }
}

function isWithin(path: string, outer: string): boolean {
  return path === outer || path.startsWith(`${outer}.`)
}

/** Returns the values that are not mappings, with their paths. */
function leavesOf(cursor: Cursor, path: readonly string[]): [string[], Cursor][] {
  return cursor.entries().flatMap(([name, member]): [string[], Cursor][] => {
    const key = [...path, name]
    return member.entries().length > 0 ? leavesOf(member, key) : [[key, member]]
  })
}
