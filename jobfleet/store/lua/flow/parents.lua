-- parents: the parents of a job, and the state of each.
--
-- KEYS    1 parents:<id> hash   parent → place and policy, or its ending; number of open ones; due time after that
-- FLAGS   no-writes
-- RETURNS {"parents", {parent, state, …}}
-- EMITS   -
-- COST    O(parents)

return {'parents', redis.call('HGETALL', KEYS[1])}
