-- enlist: let a consumer group read the journals of the fleet.
--
-- KEYS    1 consumers   hash    group → maximum number of events per lane
-- ARGV    1 group       text    its name
--         2 most        int     events
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"enlisted"}
-- EMITS   -
-- COST    O(1)

redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return {'enlisted'}
