-- points: the points of some series of a chunk.
--
-- KEYS    1 samples:<part> hash series → its points; under the empty name the marks
-- ARGV    1..* series   text    names
-- FLAGS   no-writes
-- RETURNS {"points", {points, …}}   empty for a series without points
-- EMITS   -
-- COST    O(series)

local values = redis.call('HMGET', KEYS[1], unpack(ARGV))
for i = 1, #ARGV do values[i] = values[i] or '' end

return {'points', values}
