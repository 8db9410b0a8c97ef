-- listen: say for a minute that somebody listens to a lane's events.
--
-- KEYS    1 listeners   string  a mark
-- FLAGS   allow-oom
-- RETURNS {"heard"}
-- EMITS   -
-- COST    O(1)

redis.call('SET', KEYS[1], '1', 'PX', 60000)

return {'heard'}
