-- chunks: a page of a job's output stream, after a position.
--
-- KEYS    1 chunks:<id> stream  its output
-- ARGV    1 token       int     epoch of the last chunk seen; 0 for none
--         2 n           int     its number in the epoch; 0 for none
--         3 tail        int     maximum number of last chunks; 0 for all
--         4 limit       int     chunks of a page; 1 to 500
--         5 bytes       int     size of a page; it ends after the chunk that exceeds it
-- FLAGS   no-writes
-- RETURNS {"chunks", more, {entry, …}}   more is 1 if there is a next page; an entry is: token-n, {at, v} and their values
-- EMITS   -
-- COST    O(tail + limit)

local tail, limit, bytes = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local from = '(' .. ARGV[1] .. '-' .. ARGV[2]
if tail > 0 then
  local last = redis.call('XREVRANGE', KEYS[1], '+', from, 'COUNT', tail)
  if #last > 0 then from = last[#last][1] end
end

local found, more = {}, 0
repeat
  local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 50)
  for i = 1, #page do
    if #found == limit or bytes < 0 then
      more = 1
      break
    end
    local at, chunk = page[i][2][2], page[i][2][4]
    if chunk and string.find(at, '^%d+ %d+$') then found[#found + 1], bytes = page[i], bytes - #chunk end  -- not a foreign entry
  end
  if #page > 0 then from = '(' .. page[#page][1] end
until #page < 50 or more == 1

return {'chunks', more, found}
