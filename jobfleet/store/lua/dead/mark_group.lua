-- mark_group: set the state of a group of dead letters.
--
-- KEYS    1 dead-regressed zset fingerprints by the time of the letter that came back (µs)
--         2 dead-ignored zset   ignored fingerprints by the time of that decision (µs)
--         3 dead-group:<fp> hash the group: state, times, function, error
-- ARGV    1 fp          text    its fingerprint
--         2 state       text    known, ignored or resolved
--         3 who         text    requester; - if unknown
--         4 ttl         int     ms for which a group is kept
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"marked", fresh} | {"unknown"}   fresh is 0 if it had that state before
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number

local fp, state, who, ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local now = int(now_us())

local before = redis.call('HGET', KEYS[3], 'state')
if not before then return {'unknown'} end
redis.call('ZCARD', KEYS[1])
redis.call('ZCARD', KEYS[2])

if before ~= state then redis.call('HSET', KEYS[3], 'state', state, 'by', who, 'at', now) end
redis.call('PEXPIRE', KEYS[3], ttl)
redis.call('ZREM', KEYS[1], fp)
if state == 'ignored' then
  redis.call('ZADD', KEYS[2], now, fp)
else
  redis.call('ZREM', KEYS[2], fp)
end

return {'marked', before ~= state and 1 or 0}
