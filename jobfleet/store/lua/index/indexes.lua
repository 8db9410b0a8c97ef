-- indexes: the names of indexes that it is time to look through.
--
-- KEYS    1 indexes     zset    index → when it is looked through (µs)
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
