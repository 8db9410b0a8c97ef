-- open_rescue: begin the rescue of a group of dead letters.
--
-- KEYS    1 rescues     zset    rescues by their begin (µs)
--         2 rescuing    zset    rescues that are not over, by their begin (µs)
--         3 dead-group:<fp> hash the group: state, times, function, error
--         4 rescue:<rescue> hash the rescue: state, plan, counts
-- ARGV    1 tag         text    the fleet's prefix
--         2 fp          text    the group's fingerprint
--         3 rescue      text    the id of the rescue
--         4 who         text    requester; - if unknown
--         5 every       int     µs from one replay to the next, after the canary
--         6 canary      text    numbers of jobs, with commas
--         7 stop_after  int     failures that stop it
--         8 total       int     number of letters of the group
--         9 ttl         int     ms for which it is kept
--         10 most       int     maximum number of rescues that are kept
-- READS   rescue:<rescue> hash  another rescue of the group
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"opened", now} | {"unknown"} | {"running", rescue}
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number

local tag, fp, rescue, who, ttl, most = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[9], tonumber(ARGV[10])
local now = int(now_us())

if redis.call('EXISTS', KEYS[3]) == 0 then return {'unknown'} end
local other = redis.call('HGET', KEYS[3], 'rescue')
local state = other and redis.call('HGET', tag .. 'rescue:' .. other, 'state')
if state == 'running' or state == 'undoing' then return {'running', other} end
redis.call('ZCARD', KEYS[2])
local excess = redis.call('ZCARD', KEYS[1]) + 1 - most
local old = excess > 0 and redis.call('ZRANGE', KEYS[1], 0, excess - 1) or {}

redis.call('HSET', KEYS[4], 'fp', fp, 'state', 'running', 'by', who, 'at', now, 'every', ARGV[5], 'canary', ARGV[6],
  'stop_after', ARGV[7], 'total', ARGV[8], 'step', 0, 'stage', 0, 'cursor', '', 'last', now, 'is_read', 0)
redis.call('PEXPIRE', KEYS[4], ttl)
redis.call('ZADD', KEYS[1], now, rescue)
redis.call('ZADD', KEYS[2], now, rescue)
redis.call('HSET', KEYS[3], 'rescue', rescue)
if #old > 0 then redis.call('ZREM', KEYS[1], unpack(old)) end

return {'opened', now}
