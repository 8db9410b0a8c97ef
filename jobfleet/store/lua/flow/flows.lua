-- flows: the last flows, newest first; a flow whose record has expired is left out.
--
-- KEYS    1 flows       zset    flows by creation time (µs)
-- READS   flow:<id>     string  whether the record is there
-- ARGV    1 tag         text    the fleet's prefix
--         2 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"flows", {id, made, …}}
-- EMITS   -
-- COST    O(limit)

local tag, limit = ARGV[1], tonumber(ARGV[2])

local flows, listed = {}, redis.call('ZREVRANGE', KEYS[1], 0, limit - 1, 'WITHSCORES')
for i = 1, #listed, 2 do
  if redis.call('EXISTS', tag .. 'flow:' .. listed[i]) == 1 then
    flows[#flows + 1] = listed[i]
    flows[#flows + 1] = listed[i + 1]
  end
end

return {'flows', flows}
