-- children: a page of a job's dependants.
--
-- KEYS    1 dependants:<id> zset dependants by the last ending of which they were notified (ms)
-- ARGV    1 skip        int     number of entries to skip
--         2 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"children", {child, …}}
-- EMITS   -
-- COST    O(log n + limit)

local skip, limit = tonumber(ARGV[1]), tonumber(ARGV[2])

return {'children', redis.call('ZRANGE', KEYS[1], skip, skip + limit - 1)}
