import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { readLogoutToken } from '../../oidc/logout-token.ts'
import { announcedIssuer } from '../../oidc/provider.ts'
import { isIdentifier } from '../../oidc/token-set.ts'
import { createLimiter } from '../../resilience/limiter.ts'
import { endLogin } from '../../session/provider-logout.ts'
import { contextOf } from '../context.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

/** How long a `jti` is stored. Logout tokens are accepted for a shorter time, except for the clock tolerance. */
const REPLAY_WINDOW_MS = 15 * 60_000

/**
 * Limits the notes in the store. Any client can request front-channel logouts, and each request stores a note for the
 * logins in progress.
 */
const MAX_NOTES_PER_MINUTE = 1_000
const MINUTE_MS = 60_000

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
  const provider = providers.of({})
  const wanted = await readLogoutToken(provider, token)
  const jti = JSON.stringify(['logout token', wanted.issuer, wanted.jti])
  if ((await store.getNote(jti)) !== null) {
    request.log.warn(
      { event: 'replay', id: request.id, what: 'logout token' },
      'a logout token was received a second time',
    )
    throw new Fault('logout_refused', { cause: new Error('its jti was used before') })
  }
  const ended = await endLogin(store, sessions, { ...wanted, at: Date.now() }, 'backchannel')
  // The `jti` is stored last, so that the provider can repeat a request that failed with 503.
  await store.setNote(jti, 'done', REPLAY_WINDOW_MS + 2 * provider.settings.clockTolerance)
  request.log.info({ event: 'logout', id: request.id, channel: 'back', ended }, 'the provider has ended sessions')
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

async function answerFrame(
  { providers, store, sessions }: Services,
  mayNote: () => boolean,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const parameters = queryOf(request)
  const [issuers, [sid, ...moreSids]] = [parameters.getAll('iss'), parameters.getAll('sid')]
  const issuer = announcedIssuer(providers.of({}))
  // Entra sends only `sid`, which cannot be guessed, so it is sufficient with a single provider.
  const isOther = issuers.length > 1 || (issuers[0] !== undefined && providers.issuing(issuers[0]).length === 0)
  if (isOther || !isIdentifier(sid) || moreSids.length > 0)
    throw new Fault('logout_refused', { cause: new Error('iss and sid do not name a session of this provider') })
  const logout = { issuer, sid, subject: null, at: Date.now(), unnoted: !mayNote() }
  const ended = await endLogin(store, sessions, logout, 'frontchannel')
  request.log.info({ event: 'logout', id: request.id, channel: 'front', ended }, 'the provider has ended sessions')
  contextOf(request).verdict = 'logout'
  return reply
    .headers({
      'cache-control': 'no-store',
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': "default-src 'none'",
    })
    .send('<!doctype html><title>Signed out</title>')
}
