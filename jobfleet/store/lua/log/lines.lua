-- lines: a page of a job's log, after a line that was read before.
--
-- KEYS    1 log:<id>    list    lines
-- ARGV    1 token       int     of the last line seen; 0 for none
--         2 n           int     likewise
--         3 tail        int     maximum number of last lines
--         4 limit       int     lines of a page; 1 to 500
-- FLAGS   no-writes
-- RETURNS {"lines", total, line, …}   total: number of stored lines; a line is: token n bytes rest
-- EMITS   -
-- COST    O(tail)

local token, n = tonumber(ARGV[1]), tonumber(ARGV[2])
local tail, limit = tonumber(ARGV[3]), tonumber(ARGV[4])

local total = redis.call('LLEN', KEYS[1])
local first = math.max(0, total - tail)

-- A reader that follows has seen nearly all lines, so search from the end.
local from = total
while from > first do
  local at = math.max(first, from - 100)
  local part, seen = redis.call('LRANGE', KEYS[1], at, from - 1), false
  for i = #part, 1, -1 do
    local its, no = string.match(part[i], '^(%d+) (%d+) ')
    its, no = tonumber(its), tonumber(no)
    if its and (its < token or (its == token and no <= n)) then -- a line that cannot be read is passed over
      seen = true
      break
    end
    from = from - 1
  end
  if seen then break end
end

return {'lines', total, unpack(redis.call('LRANGE', KEYS[1], from, from + limit - 1))}
