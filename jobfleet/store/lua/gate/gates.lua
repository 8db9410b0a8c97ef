-- gates: the definitions and the state of named limits and circuit breakers.
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
-- READS   gate:<name>   hash    definition and state
--         inside:<name> zset the runs inside by the time they passed
-- ARGV    1 tag         text    the fleet's prefix
--         2 skip        int     number of gates to skip; if names are given, number of runs per gate to skip
--         3 held        int     µs for which the runs that are returned must have been inside
--         4 most        int     maximum number of these runs per gate
--         5..* name     text    of the gates; at most 50; none for the next 50
-- FLAGS   no-writes
-- RETURNS {"gates", now, {name, fields, running, {holder, …}, …}}   four values per gate; if one of its keys has a wrong
--         type, the field "unreadable" has its name
-- EMITS   -
-- COST    O(gates · (fields + most))
-- @include lib/base/clock
-- @include lib/base/number

local tag, skip, now = ARGV[1], tonumber(ARGV[2]), now_us()
local before = int(now - tonumber(ARGV[3]))
local names, rows = {unpack(ARGV, 5)}, {}
local from = #names == 0 and 0 or skip
if #names == 0 then names = redis.call('ZRANGE', KEYS[1], int(skip), int(skip + 49)) end

-- A damaged gate must not hide the others.
for i = 1, #names do
  local name = names[i]
  local at, runs = 4 * i - 3, tag .. 'inside:' .. name
  local fields, running = redis.pcall('HGETALL', tag .. 'gate:' .. name), redis.pcall('ZCARD', runs)
  local is_known = type(running) == 'number'
  if fields.err then fields = {'unreadable', 'gate:' .. name} end
  if not is_known then fields[#fields + 1], fields[#fields + 2] = 'unreadable', 'inside:' .. name end
  rows[at], rows[at + 1], rows[at + 2], rows[at + 3] = name, fields, is_known and running or 0, {}
  if is_known then rows[at + 3] = redis.call('ZRANGEBYSCORE', runs, '-inf', before, 'LIMIT', int(from), ARGV[4]) end
end

return {'gates', int(now), rows}
