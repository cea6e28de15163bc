import { type Condition, isMetByEveryUser, namesNetworks, UNDECIDED_CLAIM } from '../condition.ts'
import { type BaseRoute, markRouteSource, type Migration, remark } from '../migration.ts'
import { flagOf, type Setting } from '../setting.ts'
import { networkRuleOf } from './networks.ts'
import { ANY_SESSION, both, CLOSED, type DecidedPolicy, either, inNetwork } from './policies.ts'
import { isRequirement, methodsOf, policyOf, type RequireContext } from './require.ts'
import { isWholeSite, type PlacedDirective, type Section, type Site } from './sections.ts'

interface MethodPolicy {
  readonly methods: readonly string[]
  readonly policy: DecidedPolicy
}

/** A section that decides who gets in. What it does not decide, it inherits from the sections that Apache reads before. */
export interface Area {
  readonly section: Section
  readonly policy: DecidedPolicy
  /** The policies of methods that differ from those of all other methods. */
  readonly exceptions: readonly MethodPolicy[]
  readonly access: BaseRoute['access']
  readonly challenge?: string
  readonly withoutToken: boolean
  readonly from: readonly Setting[]
  /** Whether the section has a requirement that replaces those of earlier sections. */
  readonly replaces: boolean
  /** How the requirement combines with those of earlier sections. */
  readonly merging: 'off' | 'and' | 'or'
  /** The networks of clients, from this section or from the section before. */
  readonly network: Condition | null
  /** Whether the section has directives about networks itself. */
  readonly hasNetworks: boolean
  readonly authType: string | undefined
}

export type SiteContext = Pick<RequireContext, 'userClaim' | 'unknownAddress'>

const NOT_LET_IN = `users who met it are not let in until you decide and replace the claim ${UNDECIDED_CLAIM}`

/** Returns the areas of a site in the order in which Apache merges its sections. */
export function areasOf({ sections, directives }: Site, context: SiteContext, migration: Migration): Area[] {
  const areas: Area[] = []
  for (const section of sections) {
    const own = directives.filter(({ within }) => within === section)
    const before = areas.findLast((area) => covers(area.section, section))
    const area = areaOf(section, own, before, areas, context, migration)
    if (area === null) continue
    areas.forEach((earlier, index) => {
      if (covers(section, earlier.section)) areas[index] = mergedInto(earlier, area)
    })
    areas.push(area)
  }
  return areas
}

/** Returns whether the patterns of a section match all paths of another section. */
export function covers(outer: Section, inner: Section): boolean {
  if (outer.patterns === null) return false
  const patterns = inner.patterns ?? (inner.parent === null ? ['/**'] : patternsAround(inner.parent))
  return patterns.every(
    (path) => outer.patterns?.some((pattern) => pattern === path || isWithin(path, pattern)) === true,
  )
}

/** Returns patterns that match at least the paths of a section. */
export function patternsAround({ patterns, parent }: Section): readonly string[] {
  return patterns ?? (parent === null ? ['/**'] : patternsAround(parent))
}

export function isWithin(inner: string, outer: string): boolean {
  return outer.endsWith('/**') && (inner === outer.slice(0, -3) || inner.startsWith(outer.slice(0, -2)))
}

/** Applies what a later section adds to an earlier section that it covers. */
export function mergedInto(earlier: Area, later: Area): Area {
  const combined = later.merging !== 'off' && later.replaces
  const merged = combined ? { ...earlier, ...policies(earlier, (policy) => mergedPolicy(policy, later)) } : earlier
  if (!later.hasNetworks || later.replaces) return merged
  return { ...merged, ...policies(merged, (policy) => inNetworkOf(later, policy)) }
}

/** Returns a policy that also requires the networks of an area. */
export function inNetworkOf({ network, policy: own }: Area, policy: DecidedPolicy): DecidedPolicy {
  if (own === CLOSED) return CLOSED
  return network === null ? policy : inNetwork(policy, network)
}

export function policies(
  { policy, exceptions }: Area,
  change: (policy: DecidedPolicy) => DecidedPolicy,
): Pick<Area, 'policy' | 'exceptions'> {
  return {
    policy: change(policy),
    exceptions: exceptions.map((one) => ({ methods: one.methods, policy: change(one.policy) })),
  }
}

function mergedPolicy(policy: DecidedPolicy, { policy: other, exceptions, merging }: Area): DecidedPolicy {
  // The policies of single methods would have to be merged one by one.
  if (exceptions.length > 0) return CLOSED
  return merging === 'and' ? both(policy, other) : either(policy, other)
}

const OF_ACCESS = ['AuthType', 'OIDCUnAuthAction', 'AuthName', 'AuthMerging']
const OF_NETWORKS = /^(Order|Allow|Deny|Satisfy)$/i

function areaOf(
  section: Section,
  own: readonly PlacedDirective[],
  before: Area | undefined,
  earlier: readonly Area[],
  siteContext: SiteContext,
  migration: Migration,
): Area | null {
  const requirements = own.filter(({ directive }) => isRequirement(directive))
  // Directives in a section such as <RequireAll> are part of its requirement.
  const nested = new Set(requirements.flatMap(({ directive }) => directive.inner ?? []))
  const outer = requirements.filter(({ directive }) => !nested.has(directive))
  const settingOf = (name: string): PlacedDirective | undefined =>
    own.findLast(({ setting }) => setting.key.toLowerCase() === name.toLowerCase())
  const network = networkRuleOf(
    own.filter(({ setting }) => OF_NETWORKS.test(setting.key)).map(({ directive }) => directive),
    siteContext.unknownAddress,
  )
  const action = settingOf('OIDCUnAuthAction')
  const withoutToken = own.some(({ setting }) => setting.key === 'OIDCPassAccessToken' && flagOf(setting) === false)
  const accessSettings = own
    .filter(({ directive, setting }) => isRequirement(directive) || OF_ACCESS.includes(setting.key))
    .map(({ setting }) => setting)
  const ownType = settingOf('AuthType')
  if (outer.length === 0 && network === null && action === undefined) {
    markRouteSource(migration, ...accessSettings.filter(({ key }) => key === 'AuthType'))
    if (ownType === undefined || isOfModule(typeOf(ownType)) || before === undefined) return null
  }
  markRouteSource(migration, ...accessSettings)
  if (section.setting !== null) markRouteSource(migration, section.setting)
  if (outer.length === 0 && network === null && action !== undefined && isWholeSite(section)) {
    migration.routeDefaults.challenge = challengeOf(action.setting, migration)
    return null
  }
  const requirement = outer[0]?.setting ?? ownType?.setting ?? section.setting
  const limited = outer.flatMap(({ limit }) => limit?.methods ?? [])
  const policyFor = (method: string | null): DecidedPolicy => {
    const applying = outer.filter(({ limit }) => appliesTo(limit, method)).map(({ directive }) => directive)
    const policy = policyOf(applying, {
      ...siteContext,
      method,
      reportUndecided(directive, reason) {
        const setting = own.find((one) => one.directive === directive)?.setting ?? section.setting
        remark(migration, 'security', setting, `${reason}: ${NOT_LET_IN}`)
      },
    })
    if (policy === null) return before === undefined ? ANY_SESSION : policyOfMethod(before, method)
    return policy.kind === 'denied' ? CLOSED : policy
  }
  const merging = mergingOf(settingOf('AuthMerging')?.directive.args[0])
  // A section without directives of mod_access_compat keeps those of the section before.
  const effectiveNetwork =
    network === null ? (before?.network ?? null) : network.isAlternative ? null : network.condition
  const complete = (policy: DecidedPolicy, method: string | null): DecidedPolicy => {
    // The policy of the section before contains its networks.
    if (outer.length === 0 && network === null) return policy
    const merged = outer.length === 0 ? policy : mergedWithEarlier(policy, method, merging, before, earlier, section)
    if (network !== null && !network.isAlternative && network.condition === null) return CLOSED
    return effectiveNetwork === null ? merged : inNetwork(merged, effectiveNetwork)
  }
  const policy = complete(policyFor(null), null)
  const exceptions: { methods: string[]; policy: DecidedPolicy }[] = []
  const inherited = before?.exceptions.flatMap(({ methods }) => methods) ?? []
  const methods = new Set([
    ...methodsOf(outer.map(({ directive }) => directive)),
    ...limited,
    ...(outer.length === 0 || merging !== 'off' ? inherited : []),
  ])
  for (const method of methods) {
    const ofMethod = complete(policyFor(method), method)
    if (isSame(ofMethod, policy)) continue
    const known = exceptions.find((one) => isSame(one.policy, ofMethod))
    if (known === undefined) exceptions.push({ methods: [method], policy: ofMethod })
    else known.methods.push(method)
  }
  if (outer.length > 0)
    for (const one of [{ methods: [], policy }, ...exceptions]) reportPolicy(one, section, requirement, migration)
  reportNetworks(own, network, outer.length === 0 ? policy : null, migration)
  const type = ownType === undefined ? (outer.length === 0 ? undefined : before?.authType) : typeOf(ownType)
  const shared = {
    section,
    merging,
    network: effectiveNetwork,
    hasNetworks: network !== null,
    authType: type,
    replaces: outer.length > 0,
    withoutToken: withoutToken || before?.withoutToken === true,
    from: accessSettings,
  }
  if (type !== undefined && type !== 'none' && !isOfModule(type) && policy.kind !== 'public') {
    remark(migration, 'security', requirement, `AuthType ${type} is another way to log in: ${NOT_LET_IN}`)
    return { ...shared, policy: CLOSED, exceptions: [], access: 'required', replaces: true, withoutToken: true }
  }
  if (ownType !== undefined && type === 'oauth20' && policy.kind === 'users')
    remark(
      migration,
      'security',
      ownType.setting,
      'a session is enough here as well, and only a bearer token was: if users must not get in with their session, ' +
        'require a claim that only the tokens have',
    )
  const challenge = action === undefined ? before?.challenge : challengeOf(action.setting, migration)
  const pass =
    action !== undefined &&
    action.directive.args[0]?.toLowerCase() === 'pass' &&
    policy.kind === 'users' &&
    isMetByEveryUser(policy.condition)
  if (pass)
    remark(
      migration,
      'security',
      action.setting,
      `needs no session, as before: ${section.patterns?.join(', ') ?? 'its paths'} (access: optional)`,
    )
  else if (action?.directive.args[0]?.toLowerCase() === 'pass' && policy.kind === 'users')
    remark(
      migration,
      'differs',
      action.setting,
      'the module lets in requests without a session and ignores the claims; here such requests are refused: add access: ' +
        'optional to the routes that must be open',
    )
  return {
    ...shared,
    policy,
    exceptions,
    access: policy.kind === 'public' ? 'public' : pass ? 'optional' : 'required',
    ...(challenge === undefined || pass ? {} : { challenge }),
  }
}

function typeOf({ directive }: PlacedDirective): string {
  return directive.args[0]?.toLowerCase() ?? ''
}

/** Returns whether an `AuthType` is one of mod_auth_openidc. */
export function isOfModule(type: string): boolean {
  return /^(openid-connect|oauth20|auth-openidc)$/.test(type)
}

function appliesTo(limit: PlacedDirective['limit'], method: string | null): boolean {
  if (limit === null) return true
  return (method !== null && limit.methods.includes(method)) !== limit.isExcept
}

function mergingOf(value: string | undefined): Area['merging'] {
  const word = value?.toLowerCase()
  return word === 'and' || word === 'or' ? word : 'off'
}

function policyOfMethod({ policy, exceptions }: Area, method: string | null): DecidedPolicy {
  return exceptions.find(({ methods }) => method !== null && methods.includes(method))?.policy ?? policy
}

/** Combines a policy with the one that Apache has for the same paths from earlier sections. */
function mergedWithEarlier(
  policy: DecidedPolicy,
  method: string | null,
  merging: Area['merging'],
  before: Area | undefined,
  earlier: readonly Area[],
  section: Section,
): DecidedPolicy {
  if (merging === 'off') return policy
  if (before !== undefined) {
    const other = policyOfMethod(before, method)
    return merging === 'and' ? both(policy, other) : either(policy, other)
  }
  // An earlier section with a part of the paths adds its requirement to that part only.
  const overlaps = earlier.some((area) => area.section.patterns === null || covers(section, area.section))
  return merging === 'and' && overlaps ? CLOSED : policy
}

function isSame(one: DecidedPolicy, other: DecidedPolicy): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function reportPolicy(
  { methods, policy }: MethodPolicy,
  { patterns }: Section,
  setting: Setting | null,
  migration: Migration,
): void {
  const of = methods.length === 0 ? '' : `${methods.join(', ')} `
  if (policy === CLOSED) remark(migration, 'security', setting, `${of}it let no user in: ${NOT_LET_IN}`)
  if (policy.kind === 'public') {
    if (patterns !== null)
      remark(
        migration,
        'security',
        setting,
        `needs no session, as before: ${of}${patterns.join(', ')} (access: public)`,
      )
  } else if (namesNetworks(policy.condition)) {
    remark(
      migration,
      'security',
      setting,
      'the gateway compares the address of the connection, unless trustedProxies lists the proxies in front of it' +
        (policy.anonymous ? '; clients in these networks needed no login, and need one now' : ''),
    )
  }
}

/** Reports `Order`, `Allow`, `Deny` and `Satisfy`. `policy` is that of the section if it has no `Require`. */
function reportNetworks(
  own: readonly PlacedDirective[],
  network: ReturnType<typeof networkRuleOf>,
  policy: DecidedPolicy | null,
  migration: Migration,
): void {
  const settings = own.filter(({ setting }) => OF_NETWORKS.test(setting.key)).map(({ setting }) => setting)
  const [first] = settings
  if (first === undefined) return
  markRouteSource(migration, ...settings)
  if (network === null || network.isAlternative)
    return remark(
      migration,
      'security',
      first,
      'with Satisfy Any, the address of the client was enough without a login: a login is needed until you add a route ' +
        'with access: public',
    )
  if (network.condition !== null && isMetByEveryUser(network.condition)) return
  const text =
    network.condition === null
      ? `no client was let in: ${NOT_LET_IN}`
      : 'it becomes networks: the gateway compares the address of the connection, unless trustedProxies lists the ' +
        `proxies in front of it${policy === null || policy.kind === 'public' || policy.anonymous ? '; a login is needed as well' : ''}`
  remark(migration, 'security', first, text)
}

function challengeOf(setting: Setting, migration: Migration): string {
  const [action = 'auth', expression] = Array.isArray(setting.value) ? setting.value.map(String) : []
  if (expression !== undefined)
    remark(
      migration,
      'differs',
      setting,
      'the expression is left out: the kind of request (navigation or script) decides, see docs/requests.md',
    )
  if (['407', '410'].includes(action))
    remark(migration, 'differs', setting, `the response without a session is 401, not ${action}`)
  markRouteSource(migration, setting)
  return ['401', '407', '410'].includes(action) && expression === undefined ? '401' : 'auto'
}
