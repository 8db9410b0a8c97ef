-- open_queue: create a queue, once, and return its lanes; their number only grows.
--
-- KEYS    1 queues      hash    queue → home lanes, lanes
-- ARGV    1 queue       text    its name
--         2 lanes       int     home lanes of a new queue; lanes, if that is more
--         3 most        int     maximum number of queues
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"opened", lanes, new}   lanes is "home:lanes"; new: 1 if the queue was created, else 0
--         {"full"}   it is new, and there are too many queues
-- EMITS   -
-- COST    O(1)

local MOST_LANES = 1024
local queue, lanes, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

local known = redis.call('HGET', KEYS[1], queue)
local home, now = string.match(known or '', '^(%d%d?%d?%d?):(%d%d?%d?%d?)$')
home, now = tonumber(home), tonumber(now)
local opened = known
if not known and redis.call('HLEN', KEYS[1]) >= most then return {'full'} end

-- The number of home lanes never changes: jobs with a placement key must find their lane again.
if not home or home < 1 or now < home or now > MOST_LANES then  -- or the stored value is damaged
  opened = lanes .. ':' .. lanes
elseif tonumber(lanes) > now then
  opened = home .. ':' .. lanes
end
if opened ~= known then redis.call('HSET', KEYS[1], queue, opened) end

return {'opened', opened, known and 0 or 1}
