-- flow: what a flow is made of.
--
-- KEYS    1 flow:<id>   string  its jobs and whom each waits for
--         2 flow-more:<id> hash addition → how far it has come, and what it is; under the empty name how many jobs in all
-- FLAGS   no-writes
-- RETURNS {"flow", record, {addition, kept, …}}   record: empty when nothing is known of it
-- EMITS   -
-- COST    O(jobs added)

return {'flow', redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2])}
