-- history: the last fires of a cron entry, newest first.
--
-- KEYS    1 cron-ledger:<entry> zset its fires by time
-- ARGV    1 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"history", {note, …}}
-- EMITS   -
-- COST    O(limit)

return {'history', redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)}
