-- indexed: a page of the jobs of a tag or a free text, newest first.
--
-- KEYS    1 index:<name> zset   ids by enqueue time (µs)
-- ARGV    1 upto        text    the latest time, as a bound of ZREVRANGEBYSCORE
--         2 skip        int     number of entries to skip
--         3 limit       int     0..50; 0 only counts
-- FLAGS   no-writes
-- RETURNS {"indexed", count, {id, enqueued, …}}   count: of the whole index
-- EMITS   -
-- COST    O(log n + skip + limit)

local upto, skip, limit = ARGV[1], ARGV[2], ARGV[3]

local count = redis.call('ZCARD', KEYS[1])
local found = redis.call('ZREVRANGEBYSCORE', KEYS[1], upto, '-inf', 'WITHSCORES', 'LIMIT', skip, limit)

return {'indexed', count, found}
