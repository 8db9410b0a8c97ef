-- leave_gates: runs have left their gates. Frees their places, counts their outcomes, and notifies children that wait.
-- Each gate is as for pass_gates. Each run is its holder, its outcome (ok, fail, none or unused), the error, the time at
-- which it passed (µs), the number of its demands, and for each the number of the gate and the cost. An unused run has not
-- started: its cost is given back.
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
--         2..* gate:<id> hash   gate:<id>, inside:<id> (zset: runs by the time they passed), two keys per item
-- ARGV    1 channel     text    prefix of the channels on which children are notified of room
--         2 child       text    who reports
--         3 gone        int     1 if the child ends, and waits for none of these gates any more
--         4 count       int     number of gates
--         5..* rest     text    the gates, then the runs
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"left", now, {gate, state, why, …}}   the breakers whose state has changed: open, or empty for closed
-- EMITS   -
-- COST    O(gates + runs · demands)
-- @include lib/base/clock
-- @include lib/gate/gate

local KEYS, ARGV = KEYS, ARGV
local channel, child, gone, count = ARGV[1], ARGV[2], ARGV[3] == '1', tonumber(ARGV[4])
local now = now_us()
local stamp = int(now)

local gates, leaving, changes, at = {}, {}, {}, 5
for i = 1, count do
  local key, runs_key, words = KEYS[2 * i], KEYS[2 * i + 1], ARGV[at + 1]
  gates[i] = words == '' and limit_of(key, runs_key, now) or breaker_of(key, runs_key, words, now)
  gates[i].name, gates[i].runs_key, gates[i].fields, gates[i].freed = ARGV[at], runs_key, {}, 0
  at = at + 2
end
while ARGV[at] do
  local run = {holder = ARGV[at], outcome = ARGV[at + 1], error = ARGV[at + 2], passed = tonumber(ARGV[at + 3]), demands = {}}
  for d = 1, tonumber(ARGV[at + 4]) do
    run.demands[d] = {gate = gates[tonumber(ARGV[at + 3 + 2 * d])], cost = tonumber(ARGV[at + 4 + 2 * d])}
  end
  at = at + 5 + 2 * #run.demands
  leaving[#leaving + 1] = run
end

-- Counts an outcome of a breaker, and changes its state if it must.
local function judge(gate, run, was_inside)
  local fields, is_bad = gate.fields, run.outcome == 'fail'
  if (run.outcome ~= 'ok' and not is_bad) or gate.state == 'open' then return end
  if gate.state == 'half' then
    if not was_inside then return end
    if not is_bad then gate.ok = gate.ok + 1 end
    fields.ok = int(gate.ok)
    if not is_bad and gate.ok < gate.trial then return end
    local runs = gate.ok == 1 and ' run' or ' runs'
    gate.why = is_bad and 'a run of its trial failed: ' .. run.error or int(gate.ok) .. runs .. ' of its trial succeeded'
  else
    local rows, good, bad, bucket = rows_of(fields.counts or gate.text, gate.width, 10, now)
    local last = rows[#rows]
    if not last or last.at ~= bucket then
      last = {at = bucket, n = 0, m = 0}
      rows[#rows + 1] = last
    end
    if is_bad then last.m, bad = last.m + 1, bad + 1 else last.n, good = last.n + 1, good + 1 end
    fields.counts = joined(rows, true)
    if not is_bad or good + bad < gate.least or bad / (good + bad) < gate.ratio then return end
    gate.why = int(bad) .. ' of ' .. int(good + bad) .. ' runs failed, the last one with ' .. run.error
  end
  gate.state = is_bad and 'open' or ''
  fields.state, fields.ok, fields.counts, fields.by, fields.why, fields.since = gate.state, '0', '', child, gate.why, stamp
  fields['until'] = is_bad and int(now + gate.cooldown) or '0'
  if is_bad then fields.opened, gate.closed = stamp, now + gate.cooldown end
  changes[#changes + 1], changes[#changes + 2], changes[#changes + 3] = gate.name, gate.state, gate.why
end

local used = {}
for _, run in ipairs(leaving) do
  for _, demand in ipairs(run.demands) do
    local gate = demand.gate
    local was_inside = redis.call('ZREM', gate.runs_key, run.holder) == 1  -- the limit may be another one since it passed
    if was_inside then gate.freed = gate.freed + 1 end
    if gate.is_breaker then
      judge(gate, run, was_inside)
    elseif run.outcome == 'ok' and gate.high then
      gate.level = math.min(gate.high, math.max(gate.level or gate.low, 1) + 1 / math.max(gate.level or gate.low, 1))
      gate.fields.level = string.format('%.4f', gate.level)
    elseif run.outcome == 'unused' and gate.count then
      local bucket, fits = math.floor(run.passed / gate.width), false
      for _, row in ipairs(gate.rows) do
        if row.at == bucket then row.n, fits = math.max(0, row.n - demand.cost), true end
      end
      if fits then gate.fields.used = joined(gate.rows) end
    end
  end
end
for i = 1, count do
  local gate, list = gates[i], {}
  if gate.is_new and not gate.fields.state then gate.fields.state, gate.fields.ok, gate.fields['until'] = 'half', int(gate.ok), '0' end
  if gate.is_breaker and next(gate.fields) then gate.fields.words = gate.words end
  for field, text in pairs(gate.fields) do list[#list + 1], list[#list + 2] = field, text end
  if #list > 0 then
    redis.call('HSET', gate.key, unpack(list))
    keep_state(gate, used, now)
  end
  local room = gate.is_breaker and gate.why and gate.state == '' and 1000 or gate.freed
  if gone and gate.waiting ~= '' then
    gate.waiting = waiting_text(waiting_of(gate, now, child), 1)
    redis.call('HSET', gate.key, 'waiting', gate.waiting)
  end
  if room > 0 then wake(gate, channel, gate.name, room, now) end
end
if #used > 0 then note_used(KEYS[1], used, now) end

return {'left', stamp, changes}
