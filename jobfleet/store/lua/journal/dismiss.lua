-- dismiss: remove a consumer group from the fleet's list of journal readers.
--
-- KEYS    1 consumers   hash    group → maximum number of events per lane
-- ARGV    1 group       text    its name
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"dismissed", known}   known is 0 if it was not listed
-- EMITS   -
-- COST    O(1)

return {'dismissed', redis.call('HDEL', KEYS[1], ARGV[1])}
