-- resume_group: allow claims of a paused group's jobs again.
--
-- KEYS    1 conf        hash    paused groups
--         2 gdue        zset    groups by the time of the next check of their turn (µs)
--         3 wake        zset    marker on which idle children block
-- READS   ring          zset    groups by their turn
-- ARGV    1 tag         text    the lane's prefix
--         2 group       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"resumed", fresh}   fresh is 0 if it was not paused
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/group/wake_groups

local tag, group = ARGV[1], ARGV[2]
local now = now_us()
local paused = redis.call('HGET', KEYS[1], 'paused')
local found = resting(tag, group, 0)

local fresh = redis.call('HDEL', KEYS[1], 'paused:' .. group)
if fresh == 1 then redis.call('HINCRBY', KEYS[1], 'groups', -1) end
wake_groups(KEYS[2], found, now)
if #found > 0 and not paused then redis.call('ZADD', KEYS[3], 0, 'w') end

return {'resumed', fresh}
