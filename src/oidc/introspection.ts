import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { ResponseBodyError, tokenIntrospection } from 'openid-client'
import { clientNetwork } from '../config/address-ranges.ts'
import { numberFrom } from '../config/numbers.ts'
import { Fault, quote } from '../errors.ts'
import { createLimiter } from '../resilience/limiter.ts'
import { createSemaphore, type Semaphore } from '../resilience/semaphore.ts'
import { singleFlight } from '../resilience/single-flight.ts'
import { accessTokenIssuers, mayHaveIssued } from './issuer.ts'
import type { Discovered, Provider } from './provider.ts'
import { isTooDeep, TOO_DEEP, type Claims } from './token-set.ts'
import { tailOf, toVerifiedToken, type VerifiedToken } from './token-rules.ts'

/** The provider's answer about a token: the token if it is active, otherwise the reason. Valid until a time in ms. */
export type Introspected = Active | { readonly why: string; readonly until: number }

interface Active {
  readonly token: VerifiedToken
  readonly until: number
}

/**
 * The answers of a provider's introspection endpoint, each kept for at most a minute, and never past the token's `exp`.
 * @see https://www.rfc-editor.org/rfc/rfc7662#section-2
 */
export interface Introspection {
  /** Returns the kept answer about an active token, or `null`. */
  peek(token: string, now: number): VerifiedToken | null
  /**
   * Asks the provider, at most once per token and minute. `address` is the client's address. Rejects with
   * `provider_unavailable` if the provider gives no usable answer.
   */
  ask(token: string, address: string, now: number): Promise<Introspected>
}

const KEPT_MS = 60_000
const MAX_ACTIVE = 5_000
const MAX_INACTIVE = 10_000

/** Concurrent calls about tokens that were active before. */
const KNOWN_SLOTS = 32
/** Concurrent calls about all other tokens, in total, and for one address or IPv6 network. */
const UNKNOWN_SLOTS = 16
const SLOTS_PER_ADDRESS = 4

/** The shortest time between two lines at `error` about calls that failed, or were not made, for the same reason. */
const LOG_PAUSE_MS = 1_000

/**
 * Creates the answers of one provider. Any client can send random tokens, and each costs a call. Calls about unknown
 * tokens share a limited number of slots, so that a flood does not reach the provider. Each address gets only a few of
 * them, so that other addresses get their turn. Tokens that were active before have slots of their own.
 */
export function createIntrospection(provider: Provider): Introspection {
  // An answer that is no longer valid stays in the cache: it shows that the token is known.
  const active = new LRUCache<string, { readonly raw: string; readonly answer: Active }>({ max: MAX_ACTIVE })
  const inactive = new LRUCache<string, Introspected>({ max: MAX_INACTIVE })
  const flights = singleFlight<string, Introspected>()
  const knownSlots = createSemaphore(KNOWN_SLOTS)
  const unknownSlots = createSemaphore(UNKNOWN_SLOTS)
  const networks = new Map<string, { readonly slots: Semaphore; users: number }>()

  const mayLog = { overload: createLimiter(1, LOG_PAUSE_MS), failure: createLimiter(1, LOG_PAUSE_MS) }

  function failed(why: keyof typeof mayLog, cause: unknown): Fault {
    return new Fault('provider_unavailable', { cause, isRepeated: !mayLog[why]() })
  }

  async function waiting<T>(slots: Semaphore, work: () => Promise<T>): Promise<T> {
    if (!(await slots.acquire(provider.settings.timeout)))
      throw failed('overload', new Error('too many tokens wait for their introspection'))
    try {
      return await work()
    } finally {
      slots.release()
    }
  }

  async function inTurnOf<T>(address: string, work: () => Promise<T>): Promise<T> {
    const network = clientNetwork(address)
    const own = networks.get(network) ?? { slots: createSemaphore(SLOTS_PER_ADDRESS), users: 0 }
    networks.set(network, own)
    own.users += 1
    try {
      return await waiting(own.slots, () => waiting(unknownSlots, work))
    } finally {
      own.users -= 1
      if (own.users === 0) networks.delete(network)
    }
  }

  async function request(token: string): Promise<Introspected> {
    const found = await provider.discovered()
    const now = Date.now()
    try {
      const claims = await tokenIntrospection(found.configuration, token, { token_type_hint: 'access_token' })
      const exp = numberFrom(claims.exp)
      const until = Math.min(now + KEPT_MS, exp === null ? Number.POSITIVE_INFINITY : exp * 1000)
      const result = readAnswer(token, claims, provider, found)
      return typeof result === 'string' ? { why: result, until: now + KEPT_MS } : { token: result, until }
    } catch (error) {
      if (error instanceof ResponseBodyError && error.status === 400 && ABOUT_TOKEN.has(error.error))
        return { why: `it is not a JWT, and the provider does not know it (${error.error})`, until: now + KEPT_MS }
      // For an inactive token, the provider sends an answer, so another error has another cause.
      throw failed('failure', error)
    }
  }

  function peek(token: string, now: number): Active | null {
    const kept = active.get(tailOf(token))
    return kept !== undefined && kept.raw === token && now < kept.answer.until ? kept.answer : null
  }

  return {
    peek: (token, now) => peek(token, now)?.token ?? null,
    async ask(token, address, now) {
      const tail = tailOf(token)
      const key = createHash('sha256').update(token).digest('base64url')
      const kept = peek(token, now) ?? inactive.get(key)
      if (kept !== undefined && now < kept.until) return kept
      return flights.run(key, async () => {
        const isKnown = active.get(tail)?.raw === token
        const work = (): Promise<Introspected> => request(token)
        const answer = isKnown ? await waiting(knownSlots, work) : await inTurnOf(address, work)
        if ('token' in answer) active.set(tail, { raw: token, answer })
        else {
          if (isKnown) active.delete(tail)
          inactive.set(key, answer)
        }
        return answer
      })
    },
  }
}

/** Errors with which providers refuse an unknown or malformed token: https://www.rfc-editor.org/rfc/rfc7009#section-2.2.1 */
const ABOUT_TOKEN: ReadonlySet<string> = new Set(['unsupported_token_type', 'invalid_request'])

/** Returns the token that an answer describes, or why it is not a valid access token. */
function readAnswer(
  token: string,
  { active, ...claims }: Claims,
  { name, settings }: Provider,
  { configuration, preset }: Discovered,
): VerifiedToken | string {
  const server = configuration.serverMetadata()
  const { iss, nbf, exp, token_type: type } = claims
  const seconds = Date.now() / 1000
  if (active !== true) return 'it is not a JWT, and the provider says that it is not active'
  if (isTooDeep(claims)) return TOO_DEEP
  const issuers = accessTokenIssuers(server, preset)
  if (iss !== undefined && !(typeof iss === 'string' && issuers.some((one) => mayHaveIssued(one, iss))))
    return `its iss is ${quote(iss)}, not ${quote(server.issuer)}`
  if (exp !== undefined && !((numberFrom(exp) ?? 0) > seconds)) return `it has expired (exp ${quote(exp)})`
  if (nbf !== undefined && !((numberFrom(nbf) ?? Number.NaN) <= seconds + settings.clockTolerance / 1000))
    return `it is not valid yet (nbf ${quote(nbf)})`
  if (type !== undefined && !(typeof type === 'string' && TOKEN_TYPES.has(type.toLowerCase())))
    return `its token_type is ${quote(type)}, not Bearer`
  return toVerifiedToken(token, claims, { issuer: server.issuer, name, substitutes: preset ?? {} })
}

const TOKEN_TYPES = new Set(['bearer', 'dpop'])
