-- kept: the sizes and remaining lifetimes of the results of some jobs.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  its ending
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"kept", {bytes, left, …}}   two per id; left: in ms, -1 for ever, -2 if there is none
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
