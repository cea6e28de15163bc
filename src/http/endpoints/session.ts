import { isoDate, timeFrom } from '../../config/numbers.ts'
import { isCrossOrigin } from '../../gate/csrf.ts'
import { type Session } from '../../session/session.ts'
import { timeoutAt } from '../../session/lifetime.ts'
import { cooldownUntil, dueAt, isExpired } from '../../token/clock.ts'
import type { Refreshed } from '../../token/refresh.ts'
import { contextOf } from '../context.ts'
import { userMark } from '../cookies/login-state.ts'
import { demandLogin, requireSession } from './current-session.ts'
import type { Endpoint, Services } from './endpoint.ts'

/** `GET session`: describes the session to a page. Does not count as activity. */
export const session: Endpoint = (services) => async (request, reply) => {
  const found = await requireSession(services, request, reply)
  if (found === null) return reply
  contextOf(request).verdict = 'session'
  return reply.header('cache-control', 'no-store').send(describe(services, found, Date.now()))
}

/** `POST session/refresh`: refreshes the tokens, except during the cooldown. Counts as activity. */
export const refreshSession: Endpoint = (services) => async (request, reply) => {
  const { facts, now } = contextOf(request)
  if (isCrossOrigin(facts)) return services.answers.deny(request, reply, { reason: 'cross-origin' })
  const found = await requireSession(services, request, reply)
  if (found === null) return reply
  services.sessions.touch(found, now)
  const refreshed: Refreshed =
    found.tokens.refreshToken === null
      ? { ok: true, session: found }
      : await services.refresher.refresh(found, 'asked', now)
  contextOf(request).verdict = 'session'
  if (refreshed.ok)
    return reply.header('cache-control', 'no-store').send(describe(services, refreshed.session, Date.now()))
  const { denial } = refreshed
  if (denial.reason === 'session-expired') return demandLogin(services, request, reply, denial)
  if (isExpired(found, now)) return services.answers.deny(request, reply, denial)
  return reply.header('cache-control', 'no-store').send(describe(services, found, Date.now()))
}

export const userinfo: Endpoint = (services) => async (request, reply) => {
  const found = await requireSession(services, request, reply)
  if (found === null) return reply
  contextOf(request).verdict = 'session'
  return reply.header('cache-control', 'no-store').send(found.claims)
}

function describe(
  { sessions, refresher, config, providers }: Services,
  current: Session,
  now: number,
): Record<string, unknown> {
  const { tokens } = current
  const { sessionCheck } = providers.of(current).settings
  const timeout = timeoutAt(sessions.policy, current)
  const refreshable = tokens.refreshToken !== null
  const due = refreshable ? dueAt(current, config.session.refreshBefore, now) : null
  const cool = cooldownUntil(current, now)
  return {
    session: {
      created_at: isoDate(current.createdAt),
      ends_at: isoDate(current.endsAt),
      timeout_at: isoDate(timeout),
      ends_in_seconds: seconds(current.endsAt, now),
      timeout_in_seconds: seconds(timeout, now),
      active: true,
      user: userMark(current),
    },
    tokens: {
      expire_at: isoDate(tokens.expiresAt),
      refreshed_at: isoDate(current.refreshedAt),
      expire_in_seconds: seconds(tokens.expiresAt, now),
      next_auto_refresh_in_seconds: seconds(due === null ? null : Math.max(due, cool), now),
      refresh_cooldown: cool > now,
      refresh_cooldown_seconds: Math.max(0, Math.ceil((cool - now) / 1000)),
      refreshable,
      last_refresh_error: refresher.lastError(current),
    },
    ...(sessionCheck === null ? {} : { provider: { check_every_seconds: Math.ceil(sessionCheck / 1000) } }),
  }
}

function seconds(time: number | null, now: number): number {
  const known = timeFrom(time)
  return known === null ? -1 : Math.max(0, Math.floor((known - now) / 1000))
}
