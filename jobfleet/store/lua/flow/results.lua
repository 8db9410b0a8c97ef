-- results: the stored endings of some jobs.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  its ending
--         value:<id>    string  its record, if it is stored for a shorter time
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"results", {result, …}}   empty if there is none
-- EMITS   -
-- COST    O(ids)
-- @include lib/ending/brief

local keys = {}
for i = 2, #ARGV do keys[i - 1] = ARGV[1] .. 'result:' .. ARGV[i] end
local results = redis.call('MGET', unpack(keys))
for i = 1, #keys do results[i] = results[i] and with_record(ARGV[1], ARGV[i + 1], results[i]) or '' end

return {'results', results}
