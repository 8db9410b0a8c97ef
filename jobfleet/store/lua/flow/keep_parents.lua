-- keep_parents: remember the parents of blocked jobs for longer; no lifetime becomes shorter.
--
-- KEYS    1..* parents:<id> hash parent → place and policy, or its ending; number of open ones; due time after that
-- ARGV    1 ttl         int     ms from now on
-- FLAGS   allow-oom
-- RETURNS {"kept"}
-- EMITS   -
-- COST    O(children)

local ttl = tonumber(ARGV[1])

for i = 1, #KEYS do
  local left = redis.call('PTTL', KEYS[i])
  if left >= 0 and left < ttl then redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
end

return {'kept'}
