-- listen: announce for a minute that a lane's events have a listener.
--
-- KEYS    1 listeners   string  a mark
-- FLAGS   allow-oom
-- RETURNS {"heard"}
-- EMITS   -
-- COST    O(1)

redis.call('SET', KEYS[1], '1', 'PX', 60000)

return {'heard'}
