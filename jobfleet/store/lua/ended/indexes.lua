-- indexes: the names of indexes that are due for cleaning.
--
-- KEYS    1 indexes     zset    index → time of its next cleaning (µs)
-- ARGV    1 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"indexes", {name, …}}
-- EMITS   -
-- COST    O(log n + limit)
-- @include lib/base/clock
-- @include lib/base/number

local limit = ARGV[1]

local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', int(now_us()), 'LIMIT', 0, limit)

return {'indexes', names}
