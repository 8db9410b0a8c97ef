-- flows: the last flows, the newest first.
--
-- KEYS    1 flows       zset    flows by when they were made (µs)
-- ARGV    1 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"flows", {id, made, …}}
-- EMITS   -
-- COST    O(limit)

return {'flows', redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES')}
