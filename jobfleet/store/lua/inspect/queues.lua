-- queues: a page of the queues.
--
-- KEYS    1 queues      hash    queue → home lanes, lanes
-- ARGV    1 cursor      text    0 for the first page, otherwise from the previous page
--         2 count       int     approximate number of queues
-- FLAGS   no-writes
-- RETURNS {"queues", cursor, {queue, lanes, …}}   cursor is 0 after the last page; a queue may come twice
-- EMITS   -
-- COST    O(count)

local page = redis.call('HSCAN', KEYS[1], ARGV[1], 'COUNT', ARGV[2])

return {'queues', page[1], page[2]}
