-- @include lib/base/number

-- A lock on a unique key: "holder till since last". It ends at `till` (µs); with 0 it lasts as long as its holder is
-- open, or queued; `since` is the time of the lock, `last` the latest job whose call a debounce gave to the holder.
-- Another text is not a lock. A single pattern for all four would try every way to split it, and stop the server for hours.
local LOCK_MOST = 300  -- bytes: two ids of 112 each, and two times

local function lock_of(value)
  local id, till, since, last
  if #value <= LOCK_MOST then
    id, last = string.match(value, '^(%S+) ?(.*)$')
    till, last = string.match(last or '', '^(%d*) ?(.*)$')
    since, last = string.match(last, '^(%d*) ?(.*)$')
  end
  if not id or string.find(last, '%s') then return {id = '', till = 0, since = 0, last = ''} end
  return {id = id, till = tonumber(till) or 0, since = tonumber(since) or 0, last = last}
end

-- The current lock of a key. A lock whose time is over, or whose job no longer exists, does not count.
local function lock_on(unique, prefix, key, now)
  local value = redis.call('HGET', unique, key)
  local lock = value and lock_of(value)
  if not lock then return nil end
  if lock.till > 0 then return lock.till > now and lock or nil end
  return redis.call('EXISTS', prefix .. 'job:' .. lock.id) == 1 and lock or nil
end

-- The value of a new lock for a job, and its end; a scope is "q", µs, or nothing.
local function lock_for(id, scope, now)
  local period = scope and tonumber(scope)
  local till = period and now + period or 0
  return id .. ' ' .. int(till) .. ' ' .. int(now), till
end

-- Locks whose time is over: their entries in `locks`, and the fields of `unique` that no other job has taken since.
local function stale_locks(unique, locks, now, limit)
  local over, free = redis.call('ZRANGEBYSCORE', locks, '-inf', int(now), 'LIMIT', 0, limit), {}
  local values = #over > 0 and redis.call('HMGET', unique, unpack(over)) or {}
  for i = 1, #over do
    local till = values[i] and lock_of(values[i]).till or 0
    if till > 0 and till <= now then free[#free + 1] = over[i] end
  end
  return over, free
end

local function drop_locks(unique, locks, over, free)
  if #over > 0 then redis.call('ZREM', locks, unpack(over)) end
  if #free > 0 then redis.call('HDEL', unique, unpack(free)) end
end
