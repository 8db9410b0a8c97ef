-- keep_flow: keep what a flow is made of, and list it among the last.
--
-- KEYS    1 flow:<id>   string  its jobs and whom each waits for
--         2 flows       zset    flows by when they were made (µs)
-- ARGV    1 id          text    its id
--         2 ttl         int     ms it is kept
--         3 most        int     flows that are listed
--         4 record      bytes   the flow
-- FLAGS   -
-- GUARDS  deadline
-- RETURNS {"kept", now}
-- EMITS   -
-- COST    O(log flows)
-- @include lib/base/clock
-- @include lib/base/number

local now = now_us()

redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[2])
redis.call('ZADD', KEYS[2], 'NX', int(now), ARGV[1])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[3]) - 1)

return {'kept', int(now)}
