-- pause_group: let no job of a group be claimed; running ones go on.
--
-- KEYS    1 conf        hash    paused groups
-- ARGV    1 group       text    its name
--         2 who         text    who asks; - for nobody in particular
--         3 reason      text    why; may be empty
--         4 most        int     how many groups may be paused or have limits
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 when it was paused already
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
