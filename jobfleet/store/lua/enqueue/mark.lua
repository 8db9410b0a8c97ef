-- mark: write once, so that a wait for replicas or for the disk covers everything that was written before.
--
-- KEYS    1 barrier     string  mark of the last durable write
-- FLAGS   allow-oom
-- RETURNS {"marked"}
-- EMITS   -
-- COST    O(1)

redis.call('SET', KEYS[1], '1', 'PX', 60000)

return {'marked'}
