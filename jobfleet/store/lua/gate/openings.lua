-- openings: the circuit breakers that have opened lately, those that are open first. Only gates that were used lately are
-- looked at: the script that opens one notes that it was used.
--
-- KEYS    1 gates       zset    names of the gates by the time of their last use (µs); those without an end from 9e15 on
-- READS   gate:<name>   hash    definition and state
-- ARGV    1 tag         text    the fleet's prefix
--         2 used        int     time since which the gates were used (µs)
--         3 opened      int     time since which the breakers have opened (µs)
--         4 skip        int     number of gates to skip
--         5 most        int     maximum number of gates to look at: used ones, and the same number of those without an end
-- FLAGS   no-writes
-- RETURNS {"openings", now, looked, {name, opened, by, why, …}}   looked: the larger number of gates; four values per breaker
-- EMITS   -
-- COST    O(log(gates) + skip + most)
-- @include lib/base/clock
-- @include lib/base/number

local DEFINED = 9e15
local tag, used, opened, skip, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], ARGV[5]
local rows, looked = {}, 0

local function look(from, to)
  local names = redis.call('ZREVRANGEBYSCORE', KEYS[1], to, from, 'LIMIT', skip, most)
  looked = math.max(looked, #names)
  for _, name in ipairs(names) do
    if string.sub(name, 1, 8) == 'breaker:' then
      local f = redis.pcall('HMGET', tag .. 'gate:' .. name, 'opened', 'by', 'why')
      if not f.err and (tonumber(f[1] or '') or 0) > opened then
        local at = #rows
        rows[at + 1], rows[at + 2], rows[at + 3], rows[at + 4] = name, f[1], f[2] or '', f[3] or ''
      end
    end
  end
end

look(int(DEFINED + math.floor(used / 1e6)), '+inf')
look(int(used), '(' .. int(DEFINED))

return {'openings', int(now_us()), looked, rows}
