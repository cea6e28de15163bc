import { createHmac, type KeyObject } from 'node:crypto'
import type { Criterion } from '../store.ts'
import { script } from './link.ts'

/**
 * What has to happen at once in Redis. A record is a hash: `d` sealed data, `v` version, `c` created, `e` ends, `s`
 * seen (ms since the epoch), `i` its index keys, `p` the holder of a refresh that is under way.
 */

/** KEYS record · ARGV data, version, created, ends, seen, indexes, ttl. */
export const CREATE = script(`
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'c', ARGV[3], 'e', ARGV[4], 's', ARGV[5], 'i', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1`)

/**
 * KEYS record · ARGV data, version, ends, ttl, channel, message. 1 replaced, 0 this version or a later one is there, -1
 * nothing is.
 */
export const REPLACE = script(`
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return -1 end
if (tonumber(version) or 0) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'e', ARGV[3])
redis.call('HDEL', KEYS[1], 'p')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1`)

/** KEYS record · ARGV indexes. The record is found by these, too; those of before lead to it until it ends. */
export const RELIST = script(`
local known = redis.call('HGET', KEYS[1], 'i')
if not known then return 0 end
for name in string.gmatch(ARGV[1], '%S+') do
  if not string.find(known, name, 1, true) then known = known .. ' ' .. name end
end
redis.call('HSET', KEYS[1], 'i', known)
return 1`)

/**
 * KEYS record · ARGV seen, ttl. Who asks may not know yet that the end has moved: the record's own end counts. A Redis
 * that is full refuses HSET, so what keeps the record comes first; it is kept although a clock that was set back says
 * that it was seen before.
 */
export const TOUCH = script(`
local record = redis.call('HMGET', KEYS[1], 's', 'e')
if not record[1] then return 0 end
local seen = tonumber(ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[2]), (tonumber(record[2]) or 0) - seen)))
if (tonumber(record[1]) or 0) < seen then redis.call('HSET', KEYS[1], 's', ARGV[1]) end
return 1`)

/** KEYS record · ARGV channel, message. The record's index keys, or nothing where there was none. */
export const REMOVE = script(`
local indexes = redis.call('HGET', KEYS[1], 'i')
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return indexes`)

/**
 * KEYS index · ARGV id, longest life. Sessions in the order in which they come in, each with the time at which it is
 * over at the latest, by the clock of Redis in µs: those of the replicas may differ. What can't live any more is swept
 * out. Where an earlier one was given a longer life, those after it count as long: the order stays, nobody goes too
 * soon.
 */
export const ENLIST = script(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local over = now + tonumber(ARGV[2]) * 1000
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) >= over then over = tonumber(last) + 1 end
redis.call('ZADD', KEYS[1], string.format('%.0f', over), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((over - now) / 1000))
return 1`)

/** KEYS counter · ARGV window. How often by now, and the ms until it begins anew: Redis' clock may have been set. */
export const COUNT = script(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local known = redis.call('HMGET', KEYS[1], 'n', 'e')
local count, ends = tonumber(known[1]), tonumber(known[2])
if not count or not ends or ends <= now or ends > now + tonumber(ARGV[1]) then count, ends = 0, now + tonumber(ARGV[1]) end
redis.call('HSET', KEYS[1], 'n', count + 1, 'e', string.format('%.0f', ends))
redis.call('PEXPIRE', KEYS[1], math.max(1, ends - now))
return {count + 1, ends - now}`)

/**
 * KEYS lock, record · ARGV holder, ttl. 0 taken by another, 1 acquired or prolonged, 2 acquired after one who never
 * finished.
 */
export const LOCK = script(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if holder or redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
local before = redis.call('HGET', KEYS[2], 'p')
redis.call('HSET', KEYS[2], 'p', ARGV[1])
if before and before ~= ARGV[1] then return 2 end
return 1`)

/** KEYS lock, record · ARGV holder. */
export const UNLOCK = script(`
if redis.call('HGET', KEYS[2], 'p') == ARGV[1] then redis.call('HDEL', KEYS[2], 'p') end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`)

/**
 * KEYS a name of its own. Does everything once that is done anywhere else, and leaves nothing behind. Its error names
 * the commands that the user may not run, as Redis 7.0 does not. That there is no room is no error here.
 */
export const TRY_ALL = script(`
local key = KEYS[1]
local refused = {}
for _, command in ipairs({
  {'TIME'}, {'DEL', key}, {'HSET', key, 'f', '1'}, {'HGET', key, 'f'}, {'HMGET', key, 'f'}, {'HDEL', key, 'f'},
  {'SET', key, '1', 'PX', 1000}, {'GET', key}, {'EXISTS', key}, {'PEXPIRE', key, 1000}, {'DEL', key},
  {'ZADD', key, 1, 'm'}, {'ZRANGE', key, 0, -1}, {'ZREM', key, 'm'}, {'ZREMRANGEBYSCORE', key, '-inf', 0}, {'DEL', key},
}) do
  local reply = redis.pcall(unpack(command))
  if type(reply) == 'table' and reply.err then
    if string.find(reply.err, 'READONLY', 1, true) then return reply end
    local err = reply.err
    local isAcl = string.find(err, 'user executing the script', 1, true) or string.find(err, 'ACL failure', 1, true)
    if isAcl then table.insert(refused, command[1]) end
  end
end
if #refused == 0 then return 1 end
local commands = table.concat(refused, ', ')
return redis.error_reply('NOPERM this user has no permissions to run ' .. commands .. ' on ' .. key)`)

// The braces keep a session's keys in one slot of a cluster.

/** The key of a session's record. */
export function recordKey(id: string): string {
  return `gatehouse:session:{${id}}`
}

/** The key of a session's refresh lock. */
export function lockKey(id: string): string {
  return `gatehouse:lock:{${id}}`
}

/** The key of a list of sessions. It names nobody: who has only the store can't even guess whose sessions there are. */
export function indexKey(key: KeyObject, criterion: Criterion): string {
  const [kind, value] = 'sid' in criterion ? ['sid', criterion.sid] : ['sub', criterion.subject]
  return `gatehouse:index:${mac(key, JSON.stringify([kind, criterion.issuer, value]))}`
}

/** The key of a note; its name may tell something about a user, the key does not. */
export function markKey(key: KeyObject, name: string): string {
  return `gatehouse:mark:${mac(key, name)}`
}

/** The key of a counter; its name may tell something about a user, the key does not. */
export function rateKey(key: KeyObject, name: string): string {
  return `gatehouse:rate:${mac(key, name)}`
}

/** The key of a value that may be used once. */
export function onceKey(value: string): string {
  return `gatehouse:once:${value}`
}

function mac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
