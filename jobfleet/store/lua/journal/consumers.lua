-- consumers: the consumer groups that read the journals of the fleet.
--
-- KEYS    1 consumers   hash    group → maximum number of events per lane
-- FLAGS   no-writes
-- RETURNS {"consumers", {group, most, …}}
-- EMITS   -
-- COST    O(groups)

return {'consumers', redis.call('HGETALL', KEYS[1])}
