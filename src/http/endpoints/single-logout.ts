import { performance } from 'node:perf_hooks'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Fault } from '../../errors.ts'
import { announcedIssuer } from '../../oidc/announced-issuer.ts'
import { mayHaveIssued } from '../../oidc/issuer.ts'
import { readLogoutToken } from '../../oidc/logout-token.ts'
import { isName } from '../../oidc/names.ts'
import { endLogin } from '../../session/provider-logout.ts'
import { contextOf } from '../context.ts'
import { queryOf, type Endpoint, type Services } from './endpoint.ts'

/** How long a `jti` is remembered, ms: longer than a logout token is taken. */
const REPLAY_WINDOW = 15 * 60_000

/**
 * Any client can ask for a front-channel logout, even of unknown sessions, and each leaves a mark in the store for a login that
 * is under way. This is the most per minute.
 */
const MOST_MARKS = 1_000
const MINUTE = 60_000

/** `POST logout/backchannel` (OpenID Connect Back-Channel Logout 1.0, section 2.5). */
export const backchannelLogout: Endpoint = (services) => async (request, reply) => {
  const { provider, store, sessions } = services
  const tokens = request.body instanceof URLSearchParams ? request.body.getAll('logout_token') : []
  const [token] = tokens
  if (token === undefined || tokens.length > 1)
    throw new Fault('logout_refused', { cause: new Error(`there are ${tokens.length} logout_tokens, not one`) })
  const wanted = await readLogoutToken(provider, token)
  const jti = JSON.stringify(['logout token', wanted.issuer, wanted.jti])
  if ((await store.marked(jti)) !== null) {
    request.log.warn({ event: 'replay', id: request.id, what: 'logout token' }, 'a logout token came a second time')
    throw new Fault('logout_refused', { cause: new Error('its jti was used before') })
  }
  const ended = await endLogin({ store, sessions }, { ...wanted, at: Date.now() }, 'backchannel')
  // Only now: a provider that was told 503 because the store failed on the way may say it again.
  await store.mark(jti, 'done', REPLAY_WINDOW)
  request.log.info({ event: 'logout', id: request.id, channel: 'back', ended }, 'the provider has ended sessions')
  contextOf(request).verdict = 'logout'
  return reply.header('cache-control', 'no-store').code(200).send()
}

/**
 * `GET logout/frontchannel` (OpenID Connect Front-Channel Logout 1.0, section 2): in the provider's frame, without a
 * cookie.
 */
export const frontchannelLogout: Endpoint = (services) => {
  const mayMark = budget()
  return async (request, reply) => answerFrame(services, mayMark, request, reply)
}

async function answerFrame(
  { provider, store, sessions }: Services,
  mayMark: () => boolean,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const parameters = queryOf(request)
  const [issuers, [sid, ...moreSids]] = [parameters.getAll('iss'), parameters.getAll('sid')]
  const issuer = announcedIssuer(provider)
  // Entra sends `sid` alone. It can't be guessed, so with one provider it says as much as both.
  const isOther = issuers.length > 1 || (issuers[0] !== undefined && !mayHaveIssued(issuer, issuers[0]))
  if (isOther || !isName(sid) || moreSids.length > 0)
    throw new Fault('logout_refused', { cause: new Error('iss and sid do not name a session of this provider') })
  const ended = await endLogin(
    { store, sessions },
    { issuer, sid, subject: null, at: Date.now(), unmarked: !mayMark() },
    'frontchannel',
  )
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

function budget(): () => boolean {
  let [since, marks] = [performance.now(), 0]
  return () => {
    const now = performance.now()
    if (now - since > MINUTE) [since, marks] = [now, 0]
    marks += 1
    return marks <= MOST_MARKS
  }
}
