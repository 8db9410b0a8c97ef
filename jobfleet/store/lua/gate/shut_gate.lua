-- shut_gate: close a named limit or open a circuit breaker, so that no run passes; or let runs pass again.
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
--         2 gate:<name> hash   definition and state
-- ARGV    1 name        text    of the gate
--         2 channel     text    prefix of the channels on which children are notified of room
--         3 kind        text    limit or breaker
--         4 for_us      int     µs for which it is shut; 0 to let runs pass again; -1 until somebody opens it
--         5 who         text    who does it; - if unknown
--         6 why         text    the reason; may be empty
--         7 since       int     when the run began that was refused by the service (µs); 0 if an operator shuts it
--         8 most        int     maximum number of gates without an end: defined limits, and those shut until somebody opens them
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"shut", changed} | {"full"}   full: there are too many gates without an end
-- EMITS   -
-- COST    O(1)
-- @include lib/base/clock
-- @include lib/gate/gate

local name, channel, for_us, who, why, since = ARGV[1], ARGV[2], tonumber(ARGV[4]), ARGV[5], ARGV[6], tonumber(ARGV[7])
local now = now_us()
local f = redis.call('HMGET', KEYS[2], 'closed', 'state', 'low', 'high', 'level', 'cut', 'waiting', 'defined')
local gate = {key = KEYS[2], name = name, waiting = f[7] or '', defined = f[8], stays = for_us < 0}
local till = for_us < 0 and 8e15 or now + for_us
local changed = true
if gate.stays and not gate.defined and tonumber(redis.call('ZSCORE', KEYS[1], name) or '0') < tonumber(DEFINED)
  and redis.call('ZCOUNT', KEYS[1], DEFINED, '+inf') >= tonumber(ARGV[8]) then
  return {'full'}
end

if ARGV[3] == 'breaker' then
  changed = (f[2] or '') ~= (for_us == 0 and '' or 'open') or for_us ~= 0
  if changed then
    redis.call('HSET', KEYS[2], 'state', for_us == 0 and '' or 'open', 'until', for_us > 0 and int(till) or '0', 'ok', '0',
      'counts', '', 'by', who, 'why', why, 'since', int(now))
    if for_us ~= 0 then redis.call('HSET', KEYS[2], 'opened', int(now)) end
  end
else
  local closed = tonumber(f[1] or '0') or 0
  if for_us == 0 then
    changed = closed > now
  elseif since > 0 then  -- the run of another job may know a later time
    changed = till > closed
  end
  if changed then redis.call('HSET', KEYS[2], 'closed', for_us == 0 and '0' or int(till), 'by', who, 'why', why, 'since', int(now)) end
  -- Runs that began before the last decrease say nothing about the level since then.
  if since > (tonumber(f[6] or '0') or 0) and f[4] then
    local level = math.max(tonumber(f[3]), (tonumber(f[5]) or tonumber(f[3])) / 2)
    redis.call('HSET', KEYS[2], 'level', string.format('%.4f', level), 'cut', int(now))
  end
end
if changed and not gate.defined then
  local used = {}
  gate.closed = for_us > 0 and till or nil
  keep_state(gate, used, now)
  note_used(KEYS[1], used, now)
end
if for_us == 0 then wake(gate, channel, name, 1000, now) end

return {'shut', changed and 1 or 0}
