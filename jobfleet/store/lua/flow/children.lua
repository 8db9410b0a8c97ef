-- children: a page of the jobs that wait for a job.
--
-- KEYS    1 dependants:<id> zset who waits for it, by the last ending they were told of (ms)
-- ARGV    1 skip        int     how many of the first to pass over
--         2 limit       int     how many
-- FLAGS   no-writes
-- RETURNS {"children", {child, …}}
-- EMITS   -
-- COST    O(log n + limit)

local skip, limit = tonumber(ARGV[1]), tonumber(ARGV[2])

return {'children', redis.call('ZRANGE', KEYS[1], skip, skip + limit - 1)}
