-- remove_entry: delete a cron entry, its ledger, and what came of its fires.
--
-- KEYS    1 cron        hash    entry → since (µs), fingerprint, record
--         2 cron-paused hash    entry → who paused it, and when
--         3 cron-ledger:<entry> zset its fires by time
--         4 cron-times  hash    entry → since (µs), times
--         5 cron-outcomes hash  entry → numbers of its fires, and their open jobs
-- ARGV    1 entry       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"removed", count}
-- EMITS   -
-- COST    O(fires kept)

local count = redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('HDEL', KEYS[5], ARGV[1])
redis.call('UNLINK', KEYS[3])

return {'removed', count}
