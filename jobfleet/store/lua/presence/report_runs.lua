-- report_runs: a worker reports what it has counted of its runs since its start.
--
-- KEYS    1 reports     zset    worker ids by last report (µs)
--         2 report:<id> string  its report
-- ARGV    1 worker      text    its id
--         2 ttl         int     ms for which the report is stored
--         3 report      text    msgpack
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"reported", now}
-- EMITS   -
-- COST    O(log workers)
-- @include lib/base/clock
-- @include lib/base/number

local worker, ttl, report = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local now = now_us()

redis.call('ZADD', KEYS[1], int(now), worker)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - 1000 * ttl))
redis.call('SET', KEYS[2], report, 'PX', ARGV[2])

return {'reported', int(now)}
