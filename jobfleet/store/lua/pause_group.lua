-- pause_group: let no job of a group be claimed; running ones go on.
--
-- KEYS    1 conf        hash    paused groups
-- ARGV    1 group       text    its name
--         2 who         text    who asks; - for nobody in particular
--         3 reason      text    why; may be empty
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 when it was paused already
-- EMITS   -
-- COST    O(1)
-- @include lib/clock
-- @include lib/number

local group, who, reason = ARGV[1], ARGV[2], ARGV[3]
local now = now_us()

local fresh = redis.call('HSETNX', KEYS[1], 'paused:' .. group, who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or ''))
if fresh == 1 then redis.call('HINCRBY', KEYS[1], 'groups', 1) end

return {'paused', fresh}
