-- pass_gates: let runs through named limits and circuit breakers. A run passes all of its gates, or none.
-- Each gate is its name and the words of a breaker (empty for a limit). Each run is its id, its holder, the number of its
-- demands, and for each the number of the gate and the cost. The reply has five numbers per gate: room for runs, and for
-- costs (-1: unlimited); when there is more (µs; 0: unknown), and how much then; the period of the rate (µs; 0: none; -1:
-- no limit has this name).
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
--         2..* gate:<id> hash   gate:<id>, inside:<id> (zset: runs by the time they passed), two keys per item
-- ARGV    1 child       text    who asks, and is notified of room
--         2 count       int     number of gates
--         3..* rest     text    the gates, then the runs
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"passed", now, {refusal, …}, {places, units, at, then, period, …}}
--         refusal: 0, or the number of the gate that has refused; negative if the cost can never fit
-- EMITS   -
-- COST    O(gates + runs · demands)
-- @include lib/base/clock
-- @include lib/gate/gate

local KEYS, ARGV = KEYS, ARGV
local child, count = ARGV[1], tonumber(ARGV[2])
local now = now_us()
local stamp = int(now)

local gates, refusals, at = {}, {}, 3
for i = 1, count do
  local key, runs_key, words = KEYS[2 * i], KEYS[2 * i + 1], ARGV[at + 1]
  gates[i] = words == '' and limit_of(key, runs_key, now) or breaker_of(key, runs_key, words, now)
  gates[i].name, gates[i].runs_key, gates[i].holders = ARGV[at], runs_key, {}
  at = at + 2
end
while ARGV[at] do
  local id, holder, demands, refused = ARGV[at], ARGV[at + 1], {}, 0
  for d = 1, tonumber(ARGV[at + 2]) do
    demands[d] = {gate = tonumber(ARGV[at + 1 + 2 * d]), cost = tonumber(ARGV[at + 2 + 2 * d])}
  end
  at = at + 3 + 2 * #demands
  for d = 1, #demands do
    local gate, cost = gates[demands[d].gate], demands[d].cost
    if refused == 0 and not has_room(gate, cost, id) then
      refused = demands[d].gate
      gate.need = math.min(gate.need or cost, cost)
      if gate.count and cost > gate.count then
        refused = -refused
      elseif cost > 1 and cost > gate.units and not gate.first then
        gate.first = {id = id, need = cost, till = int(math.max(now, free_at(gate, cost)) + FIRST_US)}
        gate.has_first = true
      end
    end
  end
  for d = 1, refused == 0 and #demands or 0 do
    local gate, cost = gates[demands[d].gate], demands[d].cost
    gate.places, gate.units = gate.places - 1, gate.units - cost
    if gate.count and cost > 0 then
      local last = gate.rows[#gate.rows]
      if not last or last.at ~= gate.bucket then
        last = {at = gate.bucket, n = 0, m = 0}
        gate.rows[#gate.rows + 1] = last
      end
      last.n, gate.is_used = last.n + cost, true
    end
    if gate.counts_runs or gate.state == 'half' then gate.holders[#gate.holders + 1] = holder end
    if gate.first and gate.first.id == id then gate.first, gate.has_first = nil, true end
  end
  refusals[#refusals + 1] = refused
end

local rooms, used = {}, {}
for i = 1, count do
  local gate = gates[i]
  local fields, place = {}, 5 * i - 4
  local soon, room = free_at(gate, math.max(1, gate.need or 1))
  rooms[place] = gate.closed and '0' or gate.places == math.huge and '-1' or int(gate.places)
  rooms[place + 1] = gate.units == math.huge and '-1' or int(gate.units)
  rooms[place + 2], rooms[place + 3] = int(soon), int(room)
  rooms[place + 4] = gate.count and int(gate.width * BUCKETS) or not gate.is_breaker and not gate.defined and '-1' or '0'
  if gate.is_used then fields[#fields + 1], fields[#fields + 2] = 'used', joined(gate.rows) end
  if gate.has_first then
    local first = gate.first
    fields[#fields + 1] = 'first'
    fields[#fields + 1] = first and first.id .. ' ' .. int(first.need) .. ' ' .. first.till or ''
  end
  if gate.is_new then
    for _, word in ipairs({'state', 'half', 'ok', '0', 'until', '0'}) do fields[#fields + 1] = word end
  end
  local waiting = (gate.closed or gate.places < 1) and wait_at(gate, child, now)
  if waiting then fields[#fields + 1], fields[#fields + 2] = 'waiting', waiting end
  if #fields > 0 then redis.call('HSET', gate.key, unpack(fields)) end
  if #gate.holders > 0 then
    local pairs_of = {}
    for h = 1, #gate.holders do pairs_of[2 * h - 1], pairs_of[2 * h] = stamp, gate.holders[h] end
    redis.call('ZADD', gate.runs_key, unpack(pairs_of))
    redis.call('PEXPIRE', gate.runs_key, int(STATE_MS))
  end
  if #fields > 0 then keep_state(gate, used, now) end
end
if #used > 0 then note_used(KEYS[1], used, now) end

return {'passed', stamp, refusals, rooms}
