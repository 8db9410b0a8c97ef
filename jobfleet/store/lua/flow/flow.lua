-- flow: the record of a flow.
--
-- KEYS    1 flow:<id>   string  its jobs and the parents of each
--         2 flow-more:<id> hash addition → stage and record; under the empty name the total number of jobs
-- FLAGS   no-writes
-- RETURNS {"flow", record, {addition, kept, …}}   record: empty if the flow is unknown
-- EMITS   -
-- COST    O(jobs added)

return {'flow', redis.call('GET', KEYS[1]) or '', redis.call('HGETALL', KEYS[2])}
