-- flow: what a flow is made of.
--
-- KEYS    1 flow:<id>   string  its jobs and whom each waits for
-- FLAGS   no-writes
-- RETURNS {"flow", record}   empty when nothing is known of it
-- EMITS   -
-- COST    O(1)

return {'flow', redis.call('GET', KEYS[1]) or ''}
