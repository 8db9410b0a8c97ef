-- rescue: one rescue of dead letters, and its jobs in flight that were looked at the longest time ago.
--
-- KEYS    1 rescue:<rescue> hash the rescue: state, plan, counts
--         2 rescue-jobs:<rescue> zset id and entry of its jobs in flight, by the last look (µs); 0 before the first one
-- ARGV    1 limit       int     0..200
-- FLAGS   no-writes
-- RETURNS {"rescue", now, flying, {job, at, …}, {field, value, …}}
-- EMITS   -
-- COST    O(limit)
-- @include lib/base/clock
-- @include lib/base/number

local limit = tonumber(ARGV[1])

local rows = limit > 0 and redis.call('ZRANGE', KEYS[2], 0, limit - 1, 'WITHSCORES') or {}
return {'rescue', int(now_us()), redis.call('ZCARD', KEYS[2]), rows, redis.call('HGETALL', KEYS[1])}
