-- kept: how large the results of some jobs are, and for how long they are kept yet.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  how it ended
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"kept", {bytes, left, …}}   two an id; left: in ms, -1 for ever, -2 where nothing is kept
-- EMITS   -
-- COST    O(ids)

local tag = ARGV[1]

local sizes = {}
for i = 2, #ARGV do
  local key = tag .. 'result:' .. ARGV[i]
  sizes[#sizes + 1] = redis.call('STRLEN', key)
  sizes[#sizes + 1] = redis.call('PTTL', key)
end

return {'kept', sizes}
