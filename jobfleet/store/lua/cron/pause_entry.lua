-- pause_entry: pause or resume a cron entry; fires planned in between do not happen.
--
-- KEYS    1 cron        hash    entry → since (µs), fingerprint, record
--         2 cron-paused hash    entry → who paused it, when, and why
--         3 cron-times  hash    entry → since (µs), times
-- ARGV    1 entry       text    its name
--         2 who         text    who pauses it; empty to resume
--         3 reason      text    why; may be empty
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"held", now, word}   paused, resumed, already, unknown
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/base/number

local entry, who, reason = ARGV[1], ARGV[2], ARGV[3]
local now = now_us()

local known = redis.call('HGET', KEYS[1], entry)
local paused = redis.call('HGET', KEYS[2], entry)
local times = redis.call('HGET', KEYS[3], entry)
if not known then return {'held', int(now), 'unknown'} end
if (who ~= '') == (paused ~= false) then return {'held', int(now), 'already'} end

if who ~= '' then
  redis.call('HSET', KEYS[2], entry, who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or ''))
  return {'held', int(now), 'paused'}
end
redis.call('HDEL', KEYS[2], entry)
redis.call('HSET', KEYS[1], entry, int(now) .. string.match(known, '^%d+(.*)$'))
if times then redis.call('HSET', KEYS[3], entry, int(now) .. string.match(times, '^%d*(.*)$')) end

return {'held', int(now), 'resumed'}
