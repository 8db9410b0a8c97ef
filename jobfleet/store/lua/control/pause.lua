-- pause: let no job of a lane be claimed; running ones go on.
--
-- KEYS    1 conf        hash    paused
-- ARGV    1 who         text    who asks; - for nobody in particular
--         2 reason      text    why; may be empty
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 when it was paused already
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local who, reason = ARGV[1], ARGV[2]
local now = now_us()

local fresh = redis.call('HSETNX', KEYS[1], 'paused', who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or ''))

return {'paused', fresh}
