-- pause: let no job of a lane be claimed; running ones go on.
--
-- KEYS    1 conf        hash    paused
-- ARGV    1 who         text    who asks; - for nobody in particular
-- FLAGS   allow-oom
-- RETURNS {"paused", fresh}   fresh is 0 when it was paused already
-- EMITS   -
-- COST    O(1)
-- @include lib/clock
-- @include lib/number

local who = ARGV[1]
local now = now_us()

local fresh = redis.call('HSETNX', KEYS[1], 'paused', who .. '@' .. int(now))

return {'paused', fresh}
