import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { readLogoutToken } from '../../oidc/logout-token.ts'
import { isTemplate } from '../../oidc/issuer.ts'
import { announcedIssuer, type Provider } from '../../oidc/provider.ts'
import { isIdentifier, unverifiedClaims } from '../../oidc/token-set.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import { endLogin } from '../../session/provider-logout.ts'
import type { Sessions } from '../../session/sessions.ts'
import { subjectIn, userName } from '../../telemetry/log.ts'
import { sendPage } from '../answers/pages.ts'
import { contextOf } from '../context.ts'
import { requestFields } from '../identity.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

/** How long a `jti` is stored. Logout tokens are accepted for a shorter time, except for the clock tolerance. */
const REPLAY_WINDOW_MS = 15 * 60_000

/**
 * Limits the notes in the store. Any client can request front-channel logouts, and each request stores a note for the
 * logins in progress.
 */
const MAX_NOTES_PER_MINUTE = 1_000
const MINUTE_MS = 60_000
/** How many sessions an event names. Each of them has a line of its own, `session_ended`. */
const MAX_LOGGED_SESSIONS = 100

/**
 * `POST logout/backchannel`: ends the sessions that a logout token names.
 * @see https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest
 */
export const backchannelLogout: Endpoint = (services) => async (request, reply) => {
  const { providers, store, sessions } = services
  const tokens = request.body instanceof URLSearchParams ? request.body.getAll('logout_token') : []
  const [token] = tokens
  if (token === undefined || tokens.length > 1)
    throw new Fault('logout_refused', { cause: new Error(`there are ${tokens.length} logout_tokens, not one`) })
  const [provider] = providers.mayHaveIssued(token, clientsNamedBy(token, providers.all))
  if (provider === undefined)
    throw new Fault('logout_refused', { cause: new Error('its iss and aud are not those of a provider') })
  const wanted = await readLogoutToken(provider, token)
  const jti = JSON.stringify(['logout token', wanted.issuer, wanted.jti])
  if ((await store.getNote(jti)) !== null) {
    request.log.warn(
      { event: 'replay', ...requestFields(request), what: 'logout token' },
      'a logout token was received a second time',
    )
    throw new Fault('logout_refused', { cause: new Error('its jti was used before') })
  }
  const ended = await endLogin(store, sessions, { ...wanted, at: Date.now() }, 'backchannel')
  // The `jti` is stored last, so that the provider can repeat a request that failed with 503.
  await store.setNote(jti, 'done', REPLAY_WINDOW_MS + 2 * provider.settings.clockTolerance)
  logEnded(request, 'back', provider.name, ended, wanted.subject)
  contextOf(request).verdict = 'logout'
  return reply.header('cache-control', 'no-store').code(200).send()
}

/**
 * `GET logout/frontchannel`: ends the sessions with a `sid`. The provider loads this URL in a frame, so the request has
 * no cookie.
 * @see https://openid.net/specs/openid-connect-frontchannel-1_0.html#RPLogout
 */
export const frontchannelLogout: Endpoint = (services) => {
  const mayNote = createLimiter(MAX_NOTES_PER_MINUTE, MINUTE_MS)
  return async (request, reply) => answerFrame(services, mayNote, request, reply)
}

/** Returns the providers whose client is an audience of a token. Does not compare the client of a single provider. */
function clientsNamedBy(token: string, all: readonly Provider[]): readonly Provider[] {
  if (all.length === 1) return all
  const audiences: unknown[] = [unverifiedClaims(token)['aud']].flat()
  return all.filter(({ settings }) => audiences.includes(settings.clientId))
}

async function answerFrame(
  { config, providers, store, sessions }: Services,
  mayNote: () => boolean,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const parameters = queryOf(request)
  const [issuers, [sid, ...moreSids]] = [parameters.getAll('iss'), parameters.getAll('sid')]
  const issuer = issuers[0]
  const named = issuer === undefined ? providers.all : providers.issuing(issuer)
  if (issuers.length > 1 || named.length === 0 || !isIdentifier(sid) || moreSids.length > 0)
    throw new Fault('logout_refused', { cause: new Error('iss and sid do not name a session of a provider') })
  const found = await withSession(sessions, named, sid)
  const unnoted = !mayNote()
  // Without a session, the logout may be for a login in progress at any of the providers.
  const wanted = found.length === 0 ? named : found
  const ended = await Promise.all(
    [...new Set(wanted.map((provider) => listedIssuer(provider, issuer)))].map((one) =>
      endLogin(store, sessions, { issuer: one, sid, subject: null, at: Date.now(), unnoted }, 'frontchannel'),
    ),
  )
  const { name } = wanted.length === 1 ? (wanted[0] ?? {}) : {}
  logEnded(request, 'front', name, ended.flat(), null)
  contextOf(request).verdict = 'logout'
  return sendPage(request, reply, { text: 'signed_out', actions: [], isFramable: 'anywhere' }, config.pages)
}

function logEnded(
  request: FastifyRequest,
  channel: 'back' | 'front',
  provider: string | undefined,
  ended: readonly string[],
  subject: string | null,
): void {
  const { log } = request
  log.info(
    {
      event: 'logout',
      ...requestFields(request),
      channel,
      provider,
      ended: ended.length,
      sessions: ended.slice(0, MAX_LOGGED_SESSIONS),
      ...(subject === null ? {} : { user: userName(log, { sub: subject }) }),
      ...subjectIn(log, subject),
    },
    'the provider has logged a user out',
  )
}

/**
 * Returns the issuer under which sessions of a provider are listed: at a provider for all tenants, that of the tenant if
 * the logout names it.
 */
function listedIssuer(provider: Provider, named: string | undefined): string {
  const announced = announcedIssuer(provider)
  return named !== undefined && isTemplate(announced) && named !== announced ? named : announced
}

/**
 * Returns those of several providers that have a session with this `sid`. Entra sends only `sid`, which cannot be
 * guessed, so `sid` is sufficient if one issuer has it. Throws `logout_refused` if several issuers have it.
 */
async function withSession(
  sessions: Pick<Sessions, 'find'>,
  named: readonly Provider[],
  sid: string,
): Promise<readonly Provider[]> {
  const issuers = [...new Set(named.map(announcedIssuer))]
  if (issuers.length === 1) return named
  const found = await Promise.all(issuers.map(async (issuer) => (await sessions.find({ issuer, sid })).length > 0))
  const withSid = issuers.filter((_issuer, i) => found[i])
  if (withSid.length > 1)
    throw new Fault('logout_refused', {
      cause: new Error('sessions of several providers have this sid: iss must be sent'),
    })
  return named.filter((provider) => withSid.includes(announcedIssuer(provider)))
}
