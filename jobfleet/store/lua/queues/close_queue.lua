-- close_queue: remove a queue from the fleet; `clear_lane` empties its lanes.
--
-- KEYS    1 queues      hash    queue → home lanes, lanes
-- ARGV    1 queue       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"closed", lanes}   lanes is "home:lanes"; empty if the queue was unknown
-- EMITS   -
-- COST    O(1)

local known = redis.call('HGET', KEYS[1], ARGV[1]) or ''
redis.call('HDEL', KEYS[1], ARGV[1])

return {'closed', known}
