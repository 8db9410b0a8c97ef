-- timetable: when all cron entries fire, without their calls, and their pauses.
--
-- KEYS    1 cron-times  hash    entry → since (µs), times
-- READS   cron-paused   hash    entry → who paused it, and when
-- ARGV    1 tag         text    the fleet's prefix
-- FLAGS   no-writes
-- RETURNS {"timetable", now, {entry, times, …}, {entry, who, …}}
-- EMITS   -
-- COST    O(entries)
-- @include lib/base/clock
-- @include lib/base/number

return {'timetable', int(now_us()), redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', ARGV[1] .. 'cron-paused')}
