-- dismiss: take a consumer group off the list of those that read the journals of the fleet.
--
-- KEYS    1 consumers   hash    group → how many events a lane keeps at most
-- ARGV    1 group       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"dismissed", known}   known is 0 when it was not on it
-- EMITS   -
-- COST    O(1)

return {'dismissed', redis.call('HDEL', KEYS[1], ARGV[1])}
