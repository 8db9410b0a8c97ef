-- pause_group: stop claims of a group's jobs; running ones continue.
--
-- KEYS    1 conf        hash    paused groups
-- ARGV    1 group       text    its name
--         2 who         text    requester; - if unknown
--         3 reason      text    reason; may be empty
--         4 most        int     maximum number of groups that are paused or have limits
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 if it was already paused
--         {"full"}   too many groups are paused or have limits
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local group, who, reason, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = now_us()

local count = tonumber(redis.call('HGET', KEYS[1], 'groups') or '0') or 0
if count >= most and redis.call('HEXISTS', KEYS[1], 'paused:' .. group) == 0 then return {'full'} end

local fresh = redis.call('HSETNX', KEYS[1], 'paused:' .. group, who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or ''))
if fresh == 1 then redis.call('HINCRBY', KEYS[1], 'groups', 1) end

return {'paused', fresh}
