-- The only reader of gates (docs/adr/0059 and 0060): named limits, and circuit breakers. `gate:<name>` stores the definition
-- and the state, `inside:<name>` the runs inside. A rate counts starts in buckets of a 64th of its period. A bucket counts
-- for 68 of them: the period, the 3 within which a run must start after it has passed, and the bucket itself.
-- @include lib/base/number
local BUCKETS, SPAN, STATE_MS, FIRST_US, DEFINED = 64, 68, 2592000000, 1000000, '9e15'
local WAITING_MOST, WAITING_S = 200, 30
local BY_HAND = 7e15  -- a limit that is closed until this time or later stays so until somebody opens it
local LIMIT = {'most', 'low', 'high', 'level', 'count', 'period', 'used', 'first', 'closed', 'waiting', 'defined'}
local BREAKER = {'state', 'until', 'ok', 'counts', 'waiting'}

-- Rows of "bucket:n" or "bucket:n:m" that count at `now`, the oldest first, and their sums.
local function rows_of(text, width, span, now)
  local current, rows, sum, other = math.floor(now / width), {}, 0, 0
  for row in string.gmatch(text or '', '%S+') do  -- a pattern that searches would take hours for 10 MB of digits
    local at, n, m = string.match(#row < 50 and row or '', '^(%d+):(%d+):?(%d*)$')
    at, n, m = tonumber(at), tonumber(n), tonumber(m) or 0
    if at and n and math.abs(current - at) < span then
      rows[#rows + 1] = {at = at, n = n, m = m}
      sum, other = sum + n, other + m
    end
  end
  return rows, sum, other, current
end

-- `most` places, of which the runs inside hold some, and `units` of the rate. `id` of a job whose cost did not fit is
-- recorded as the first for a moment, so that jobs of a lower cost do not overtake it for ever.
local function limit_of(key, runs_key, now)
  local f = redis.call('HMGET', key, unpack(LIMIT))
  local gate = {key = key, places = math.huge, units = math.huge, waiting = f[10] or '', level = tonumber(f[4])}
  gate.low, gate.high, gate.defined = tonumber(f[2]), tonumber(f[3]), f[11]
  local most = gate.high and math.floor(gate.level or gate.low) or tonumber(f[1])
  if most then gate.places = math.max(0, most - redis.call('ZCARD', runs_key)) end
  gate.counts_runs = most
  local count, period = tonumber(f[5]), tonumber(f[6])
  if count and period then
    gate.width, gate.count = period / BUCKETS, count
    local rows, sum, _, bucket = rows_of(f[7], gate.width, SPAN, now)
    gate.rows, gate.bucket, gate.units = rows, bucket, count - sum
  end
  local id, need, till = string.match(f[8] or '', '^(%S+) (%d+) (%d+)$')
  if id and tonumber(till) > now then gate.first = {id = id, need = tonumber(need), till = till} end
  local closed = tonumber(f[9] or '0') or 0
  if closed > now then gate.closed = closed end
  gate.stays = closed > BY_HAND
  return gate
end

-- `words`: ratio, least number of outcomes, runs of the trial, window and cooldown (µs).
local function breaker_of(key, runs_key, words, now)
  local f = redis.call('HMGET', key, unpack(BREAKER))
  local ratio, least, trial, window, cooldown = string.match(words, '^(%S+) (%d+) (%d+) (%d+) (%d+)$')
  local gate = {key = key, places = math.huge, units = math.huge, waiting = f[5] or '', state = f[1] or '', is_breaker = true}
  gate.ratio, gate.least, gate.trial, gate.cooldown = tonumber(ratio), tonumber(least), tonumber(trial), tonumber(cooldown)
  gate.width, gate.text, gate.ok, gate.words = tonumber(window) / 10, f[4], tonumber(f[3] or '0'), words
  local till = tonumber(f[2] or '0')
  if gate.state == 'open' and till > 0 and till <= now then gate.state, gate.ok, gate.is_new = 'half', 0, true end
  if gate.state == 'open' then
    gate.places, gate.closed, gate.stays = 0, till, till == 0
  elseif gate.state == 'half' then
    gate.places = math.max(0, gate.trial - gate.ok - redis.call('ZCARD', runs_key))
  end
  return gate
end

local function has_room(gate, cost, id)
  if gate.closed or gate.places < 1 then return false end
  return cost <= gate.units - (gate.first and gate.first.id ~= id and gate.first.need or 0)
end

-- When so many units are free, and how many these are; 0 if it is not known.
local function free_at(gate, need)
  if gate.closed then return gate.closed, 1 end
  if not gate.rows or gate.units >= need then return 0, 0 end
  local free = gate.units
  for i = 1, #gate.rows do
    free = free + gate.rows[i].n
    if free >= need then return math.ceil((gate.rows[i].at + SPAN) * gate.width), free end
  end
  return 0, 0
end

-- The children that wait for room, the one that waits longest first: `time@child`, in seconds. A child that waits renews its
-- time; one that has not done so for `WAITING_S` is dead or waits no more. `left` is a child to leave out.
local function waiting_of(gate, now, left)
  local rows = {}
  for row in string.gmatch(gate.waiting, '%S+') do
    local at, child = string.match(row, '^(%d+)@(.+)$')
    if at and tonumber(at) > now / 1e6 - WAITING_S and child ~= left then rows[#rows + 1] = {at = tonumber(at), child = child} end
  end
  return rows
end

local function waiting_text(rows, from)
  local parts = {}
  for i = from, #rows do parts[#parts + 1] = int(rows[i].at) .. '@' .. rows[i].child end
  return table.concat(parts, ' ')
end

-- The text of the list in which a child waits; nil if it need not change. Further children ask again each second.
local function wait_at(gate, child, now)
  local rows, own, second = waiting_of(gate, now), nil, math.floor(now / 1e6)
  for i = 1, #rows do
    if rows[i].child == child then own = rows[i] end
  end
  if child == '' or (own and second - own.at < WAITING_S / 4) or (not own and #rows >= WAITING_MOST) then return nil end
  if own then own.at = second else rows[#rows + 1] = {at = second, child = child} end
  return waiting_text(rows, 1)
end

-- Notifies the first `n` children that wait for room, each on its channel.
local function wake(gate, channel, name, n, now)
  if gate.waiting == '' then return end
  local rows = waiting_of(gate, now)
  n = math.min(n, #rows)
  for i = 1, n do redis.call('PUBLISH', channel .. rows[i].child, name) end
  gate.waiting = waiting_text(rows, n + 1)
  redis.call('HSET', gate.key, 'waiting', gate.waiting)
end

-- Keeps the state of a gate that is not a defined limit for 30 days from its use, or from the end of a time for which it is
-- shut. If it is shut until somebody opens it (`stays`), it is kept until then, and its score has the time in seconds
-- behind that of the defined limits. Adds its row for `note_used`.
local function keep_state(gate, used, now)
  if gate.defined then return end
  local till = math.max(now, gate.closed or 0)
  if gate.stays then
    redis.call('PERSIST', gate.key)
  else
    redis.call('PEXPIRE', gate.key, int(STATE_MS + (till - now) / 1000))
  end
  used[#used + 1], used[#used + 2] = int(gate.stays and tonumber(DEFINED) + math.floor(now / 1e6) or till), gate.name
end

-- Notes gates, which are not defined limits, as used: time and name of each. Those whose state has expired are forgotten.
local function note_used(index, used, now)
  redis.call('ZADD', index, unpack(used))
  redis.call('ZREMRANGEBYSCORE', index, '-inf', int(now - STATE_MS * 1000))
end

local function joined(rows, has_both)
  local parts = {}
  for i = 1, #rows do
    parts[i] = int(rows[i].at) .. ':' .. int(rows[i].n) .. (has_both and ':' .. int(rows[i].m) or '')
  end
  return table.concat(parts, ' ')
end
