-- leave: a worker says goodbye.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
--         2 worker:<id> string  its account of itself
-- ARGV    1 worker      text    its id
-- FLAGS   allow-oom
-- RETURNS {"left", known}
-- EMITS   -
-- COST    O(log workers)

local worker = ARGV[1]

redis.call('UNLINK', KEYS[2])

return {'left', redis.call('ZREM', KEYS[1], worker)}
