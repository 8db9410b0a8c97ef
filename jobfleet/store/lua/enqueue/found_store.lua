-- found_store: record the identity of the payload store of the fleet. The first one stays.
--
-- KEYS    1 payload-store string  identity of the payload store
-- ARGV    1 identity    text    that of the store which the caller sees
-- FLAGS   allow-oom
-- RETURNS {"founded", identity}   the one that is recorded
-- EMITS   -
-- COST    O(1)

redis.call('SET', KEYS[1], ARGV[1], 'NX')

return {'founded', redis.call('GET', KEYS[1])}
