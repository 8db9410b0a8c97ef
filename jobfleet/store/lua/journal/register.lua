-- register: let a consumer group read a lane's journal, which is written from now on.
--
-- KEYS    1 conf        hash    paused, journal
--         2 journal     stream  lifecycle events
--         3 totals      hash    counts
-- ARGV    1 group       text    its name
--         2 most        int     maximum number of events in the journal
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"registered", fresh}   fresh is 0 if it was already registered
-- EMITS   -
-- COST    O(groups)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/consumer_groups

local group, most = ARGV[1], ARGV[2]
local now = now_us()
local groups, is_there = consumer_groups(KEYS[2])
-- Numbers of events start at the current time, so that they increase even after a loss of all data.
local last = math.max(now, tonumber(redis.call('HGET', KEYS[3], 'journal') or '0'))

redis.call('HSET', KEYS[1], 'journal', most)
if not is_there then redis.call('HSET', KEYS[3], 'journal', int(last), 'journal_low', int(last)) end
if not groups[group] then redis.call('XGROUP', 'CREATE', KEYS[2], group, '$', 'MKSTREAM') end

return {'registered', groups[group] and 0 or 1}
