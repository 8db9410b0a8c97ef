-- keep_flow: store the record of a flow, and list it among the last ones.
--
-- KEYS    1 flow:<id>   string  its jobs and the parents of each
--         2 flows       zset    flows by creation time (µs)
-- ARGV    1 id          text    its id
--         2 ttl         int     its lifetime in ms
--         3 most        int     maximum number of listed flows
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
