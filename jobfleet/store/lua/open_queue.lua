-- open_queue: make a queue known, once, and answer its lanes.
--
-- KEYS    1 queues      hash    queue → home lanes, lanes
-- ARGV    1 queue       text    its name
--         2 lanes       int     home lanes, if it is new
-- FLAGS   -
-- RETURNS {"opened", lanes}   lanes is "home:lanes"
-- EMITS   -
-- COST    O(1)

local queue, lanes = ARGV[1], ARGV[2]

redis.call('HSETNX', KEYS[1], queue, lanes .. ':' .. lanes)

return {'opened', redis.call('HGET', KEYS[1], queue)}
