-- listen: announce for a minute that a lane's events have a listener.
--
-- KEYS    1 listeners   string  a mark
-- FLAGS   allow-oom
-- RETURNS {"heard"}
-- EMITS   -
-- COST    O(1)

-- A node of a cluster counts the listeners at itself alone, so there scripts publish without counting them. So they do
-- where the server does not say what it is.
local info = redis.pcall('INFO', 'cluster')
local is_alone = type(info) == 'string' and string.find(info, 'cluster_enabled:0', 1, true)
redis.call('SET', KEYS[1], is_alone and '1' or 'uncounted', 'PX', 60000)

return {'heard'}
