-- sampled: a page of the counters at the last sample, or of the series of a chunk.
--
-- KEYS    1 samples:<part> hash series → its points, or name → counters
-- ARGV    1 cursor      text    0 for the first page, otherwise from the previous page
--         2 count       int     approximate number of series
-- FLAGS   no-writes
-- RETURNS {"sampled", cursor, {name, value, …}}   cursor is 0 after the last page; a name may come twice
-- EMITS   -
-- COST    O(count)

local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])

return {'sampled', page[1], page[2]}
