-- flows: the last flows, newest first.
--
-- KEYS    1 flows       zset    flows by creation time (µs)
-- ARGV    1 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"flows", {id, made, …}}
-- EMITS   -
-- COST    O(limit)

return {'flows', redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1, 'WITHSCORES')}
