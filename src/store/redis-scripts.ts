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

/** KEYS record · ARGV data, version, ends, ttl, channel, message. 1 replaced, 0 another version is there, -1 nothing is. */
export const REPLACE = script(`
local version = redis.call('HGET', KEYS[1], 'v')
if not version then return -1 end
if tonumber(version) ~= tonumber(ARGV[2]) - 1 then return 0 end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'v', ARGV[2], 'e', ARGV[3])
redis.call('HDEL', KEYS[1], 'p')
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1`)

/** KEYS record · ARGV seen, ttl. */
export const TOUCH = script(`
local seen = redis.call('HGET', KEYS[1], 's')
if not seen then return 0 end
if tonumber(seen) < tonumber(ARGV[1]) then
  redis.call('HSET', KEYS[1], 's', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1`)

/** KEYS record · ARGV channel, message. The record's index keys, or nothing where there was none. */
export const REMOVE = script(`
local indexes = redis.call('HGET', KEYS[1], 'i')
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], ARGV[2])
return indexes`)

/** KEYS index · ARGV id, created, oldest, ttl. Sessions by the time they were created; what can't live any more is swept out. */
export const ENLIST = script(`
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1`)

/** KEYS lock, record · ARGV holder, ttl. 0 taken by another, 1 acquired, 2 acquired after one who never finished. */
export const LOCK = script(`
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
if redis.call('EXISTS', KEYS[2]) == 0 then return 1 end
local before = redis.call('HGET', KEYS[2], 'p')
redis.call('HSET', KEYS[2], 'p', ARGV[1])
if before then return 2 end
return 1`)

/** KEYS lock, record · ARGV holder. */
export const UNLOCK = script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
if redis.call('HGET', KEYS[2], 'p') == ARGV[1] then redis.call('HDEL', KEYS[2], 'p') end
return 1`)
