-- hold_samples: take or renew the duty of sampling the fleet, which one process has at a time.
--
-- KEYS    1 samples     hash    holder, until (µs), last sample, epoch, last archived hour
-- ARGV    1 process     text    its id
--         2 lease       int     µs for which it has the duty; 0 gives the duty up
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"held", now, last, epoch, hour} | {"other", now, until}   last and hour are empty if there is none
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local process, lease = ARGV[1], tonumber(ARGV[2])
local now = now_us()
local state = redis.call('HMGET', KEYS[1], 'holder', 'until', 'last', 'epoch', 'hour')
local ends = tonumber(state[2] or '0') or 0

-- An end far in the future comes from before the clock was set back.
if state[1] and state[1] ~= process and now < ends and ends <= now + 60000000 then
  return {'other', int(now), int(ends)}
end
if lease > 0 then
  redis.call('HSET', KEYS[1], 'holder', process, 'until', int(now + lease))
elseif state[1] == process then
  redis.call('HDEL', KEYS[1], 'holder', 'until')
end

return {'held', int(now), state[3] or '', state[4] or '0', state[5] or ''}
