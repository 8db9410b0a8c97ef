-- payload_store: the identity of the payload store of the fleet.
--
-- KEYS    1 payload-store string  identity of the payload store
-- FLAGS   no-writes
-- RETURNS {"store", identity}   empty before the first payload
-- EMITS   -
-- COST    O(1)

return {'store', redis.call('GET', KEYS[1]) or ''}
