-- limits: the settings of a lane and its groups, and their usage.
--
-- KEYS    1 lane        hash    names the slot
-- READS   conf          hash    limits
--         lease         zset    running ids by lease deadline (µs)
--         held          zset    running jobs of groups
--         rates         zset    groups by the time at which their tokens are full again (µs)
-- ARGV    1 tag         text    the lane's prefix
--         2..* group    text    groups whose usage is requested; at most 50
-- FLAGS   no-writes
-- RETURNS {"limits", now, running, full, {field, value, …}, {running, full, …}}   full: when the tokens are full again;
--         settings, and two per requested group
-- EMITS   -
-- COST    O(settings + groups · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/group/limit

local tag = ARGV[1]
local now = now_us()

local used = {}
for i = 2, #ARGV do
  used[#used + 1] = running_of(tag .. 'held', ARGV[i])
  used[#used + 1] = redis.call('ZSCORE', tag .. 'rates', ARGV[i]) or '0'
end
local running, full = redis.call('ZCARD', tag .. 'lease'), redis.call('ZSCORE', tag .. 'rates', '') or '0'

return {'limits', int(now), running, full, redis.call('HGETALL', tag .. 'conf'), used}
