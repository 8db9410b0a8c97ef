-- pause: stop claims from a lane; running jobs continue.
--
-- KEYS    1 conf        hash    paused
-- ARGV    1 who         text    requester; - if unknown
--         2 reason      text    reason; may be empty
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 if it was already paused
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local who, reason = ARGV[1], ARGV[2]
local now = now_us()

local fresh = redis.call('HSETNX', KEYS[1], 'paused', who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or ''))

return {'paused', fresh}
