-- level: the durability that an operator has set for a queue.
--
-- KEYS    1 conf        hash    settings
-- FLAGS   no-writes
-- RETURNS {"level", durability}   empty if none is set
-- EMITS   -
-- COST    O(1)

return {'level', redis.call('HGET', KEYS[1], 'durability') or ''}
