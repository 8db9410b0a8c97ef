-- resume: allow claims from a paused lane again.
--
-- KEYS    1 conf        hash    paused
--         2 wake        zset    marker on which idle children block
-- READS   ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         ring          zset    groups by their turn
--         gdue          zset    groups by the time of the next check of their turn (µs)
-- ARGV    1 tag         text    the lane's prefix
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"resumed", fresh}   fresh is 0 if it was not paused
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/any_due

local tag = ARGV[1]
local claimable = any_due(tag, now_us())

local fresh = redis.call('HDEL', KEYS[1], 'paused')
if claimable then redis.call('ZADD', KEYS[2], 0, 'w') end

return {'resumed', fresh}
