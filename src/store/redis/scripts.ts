import { createHmac, type KeyObject } from 'node:crypto'
import type { Criterion } from '../store.ts'
import { script } from './link.ts'

// Atomic operations. A record is a hash with the fields `d` sealed data, `v` version, `c` created, `e` ends and `s`
// seen (in ms since the epoch), `i` index keys, and `p` the holder of the refresh lock. `p` is deleted when the
// record is replaced or the holder releases the lock.

/** Creates a record. KEYS record · ARGV data, version, created, ends, seen, indexes, ttl. */
export const CREATE = script(`
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'c', ARGV[3], 'e', ARGV[4], 's', ARGV[5], 'i', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1`)

/**
 * Replaces an older version of a record. KEYS record · ARGV data, version, ends, ttl, channel, message. Returns 1 after a
 * replacement, 0 if the record has this version or a newer one, and -1 if there is no record.
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

/** Adds index keys to a record. KEYS record · ARGV indexes. Earlier index keys are kept until the record is removed. */
export const RELIST = script(`
local known = redis.call('HGET', KEYS[1], 'i')
if not known then return 0 end
for name in string.gmatch(ARGV[1], '%S+') do
  if not string.find(known, name, 1, true) then known = known .. ' ' .. name end
end
redis.call('HSET', KEYS[1], 'i', known)
return 1`)

/**
 * Records activity. KEYS record · ARGV seen, ttl. Uses the end in the record, because the caller's may be outdated.
 * PEXPIRE comes first, because a full Redis refuses HSET. PEXPIRE also applies if `seen` is earlier than the recorded
 * time because a clock was set back.
 */
export const TOUCH = script(`
local record = redis.call('HMGET', KEYS[1], 's', 'e')
if not record[1] then return 0 end
local seen = tonumber(ARGV[1])
redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[2]), (tonumber(record[2]) or 0) - seen)))
if (tonumber(record[1]) or 0) < seen then redis.call('HSET', KEYS[1], 's', ARGV[1]) end
return 1`)

/**
 * Removes a record. KEYS record · ARGV channel, message. Returns the record's index keys, or nil if there is no record.
 */
export const REMOVE = script(`
local indexes = redis.call('HGET', KEYS[1], 'i')
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return indexes`)

/**
 * Adds a session to an index. KEYS index · ARGV id, longest lifetime. The index lists sessions in the order of creation.
 * The score is the latest possible end in µs by the clock of Redis, because the clocks of replicas may differ. Removes
 * sessions that have ended. If the previous session has a later end, the new one gets a still later end, so that the
 * order is kept and no session is removed early.
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

/**
 * Increments a count. KEYS counter · ARGV window. Returns the count and the time until the window ends, in ms. Restarts a
 * window that ends too late, which happens if the clock of Redis is set back.
 */
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
 * Takes or extends a lock. KEYS lock, record · ARGV holder, ttl. Returns 0 if another holder has the lock, 1 if this
 * holder has it, and 2 if this holder has it and the previous holder neither saved nor released.
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

/** Releases a lock. KEYS lock, record · ARGV holder. */
export const UNLOCK = script(`
if redis.call('HGET', KEYS[2], 'p') == ARGV[1] then redis.call('HDEL', KEYS[2], 'p') end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1`)

/**
 * Tries every command of the other scripts and leaves no data. KEYS trial key. The error lists the commands that the
 * user may not run, because Redis 7.0 does not name them in its own error. A full Redis causes no error.
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

// The braces put all keys of a session into the same slot of a cluster.

export function recordKey(id: string): string {
  return `gatehouse:session:{${id}}`
}

export function lockKey(id: string): string {
  return `gatehouse:lock:{${id}}`
}

/** Returns the key of an index: a MAC, so that the content of the store does not reveal its users. */
export function indexKey(key: KeyObject, criterion: Criterion): string {
  const [kind, value] = 'sid' in criterion ? ['sid', criterion.sid] : ['sub', criterion.subject]
  return `gatehouse:index:${mac(key, JSON.stringify([kind, criterion.issuer, value]))}`
}

/** Returns the key of a note (`Store.setNote`). The key hides the name of the note, which may identify a user. */
export function noteKey(key: KeyObject, name: string): string {
  return `gatehouse:mark:${mac(key, name)}`
}

/** Returns the key of a counter. The key hides the name, which may identify a user. */
export function rateKey(key: KeyObject, name: string): string {
  return `gatehouse:rate:${mac(key, name)}`
}

export function onceKey(value: string): string {
  return `gatehouse:once:${value}`
}

function mac(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}
