-- parents: what a job waits for, or has waited for, and what became of each.
--
-- KEYS    1 parents:<id> hash   parent → place and policy, or what became of it; how many are open; when it is due then
-- FLAGS   no-writes
-- RETURNS {"parents", {parent, state, …}}
-- EMITS   -
-- COST    O(parents)

return {'parents', redis.call('HGETALL', KEYS[1])}
