-- attendants: the processes that have announced that they fire recurring jobs, or that they relay an outbox.
--
-- KEYS    1 cron-duty   zset    reaper:<id>, worker:<id> or relay:<id> by last announcement (µs)
-- FLAGS   no-writes
-- RETURNS {"attendants", now, {process, announced, …}}
-- EMITS   -
-- COST    O(reapers)
-- @include lib/base/clock
-- @include lib/base/number

return {'attendants', int(now_us()), redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')}
