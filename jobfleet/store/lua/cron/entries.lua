-- entries: all cron entries, and their pauses.
--
-- KEYS    1 cron        hash    entry → since (µs), fingerprint, record
-- READS   cron-paused   hash    entry → who paused it, and when
-- ARGV    1 tag         text    the fleet's prefix
-- FLAGS   no-writes
-- RETURNS {"entries", now, {entry, record, …}, {entry, who, …}}
-- EMITS   -
-- COST    O(entries)
-- @include lib/base/clock
-- @include lib/base/number

return {'entries', int(now_us()), redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', ARGV[1] .. 'cron-paused')}
