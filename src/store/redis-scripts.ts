import { script } from './redis-link.ts'

/**
 * What has to happen at once in Redis. A record is a hash: `d` sealed data, `v` version, `c` created, `e` ends, `s` seen
 * (ms since the epoch), `i` its index keys, `p` the holder of a refresh that is under way.
 */

/** KEYS record · ARGV data, version, created, ends, seen, indexes, ttl. */
export const CREATE = script(`
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'c', ARGV[3], 'e', ARGV[4], 's', ARGV[5], 'i', ARGV[6])
redis.call('PEXPIRE', KEYS[1], ARGV[7])
return 1`)

/** KEYS record · ARGV data, version, ends, ttl, channel, message. 1 replaced, 0 this version or a later one is there, -1 nothing is. */
export const REPLACE = script(`
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return -1 end
if tonumber(version) >= tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'e', ARGV[3])
redis.call('HDEL', KEYS[1], 'p')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1`)

/** KEYS record · ARGV seen, ttl. Who asks may not know yet that the end has moved: the record's own end counts. */
export const TOUCH = script(`
local record = redis.call('HMGET', KEYS[1], 's', 'e')
if not record[1] then return 0 end
local seen = tonumber(ARGV[1])
if tonumber(record[1]) < seen then
  redis.call('HSET', KEYS[1], 's', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], math.max(1, math.min(tonumber(ARGV[2]), tonumber(record[2]) - seen)))
end
return 1`)

/** KEYS record · ARGV channel, message. The record's index keys, or nothing where there was none. */
export const REMOVE = script(`
local indexes = redis.call('HGET', KEYS[1], 'i')
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return indexes`)

/**
 * KEYS index · ARGV id, ttl. Sessions in the order in which they come in, by the clock of Redis in µs: those of the
 * replicas may differ. What can't live any more is swept out.
 */
export const ENLIST = script(`
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last and tonumber(last) >= now then now = tonumber(last) + 1 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now - tonumber(ARGV[2]) * 1000))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`)

/** KEYS counter · ARGV window. How often by now, and the ms until it begins anew. */
export const COUNT = script(`
local current = redis.call('INCR', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if left < 0 then
  left = tonumber(ARGV[1])
  redis.call('PEXPIRE', KEYS[1], left)
end
return {current, left}`)

/** KEYS lock, record · ARGV holder, ttl. 0 taken by another, 1 acquired or prolonged, 2 acquired after one who never finished. */
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
