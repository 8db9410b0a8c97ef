-- follow: let dependants of a moved job depend on its new job.
--
-- KEYS    1..* parents:<id> hash parent → place and policy, or its ending; number of open ones; due time after that
-- ARGV    1 parent      text    id of the job that was moved
--         2 to          text    id of the new job
-- FLAGS   allow-oom
-- RETURNS {"followed", letters}   f done, s it depended on the new one anyway, g it does not depend on the old one
-- EMITS   -
-- COST    O(children)

local KEYS = KEYS  -- locals are faster in a loop
local parent, to = ARGV[1], ARGV[2]

local letters, edges = {}, {}
for i = 1, #KEYS do
  local states = redis.call('HMGET', KEYS[i], parent, to)
  if not states[1] or string.sub(states[1], 1, 1) ~= '?' then
    letters[i] = 'g'
  else
    letters[i], edges[i] = states[2] and 's' or 'f', states[1]
  end
end

for i = 1, #KEYS do
  if letters[i] == 'f' then
    redis.call('HSET', KEYS[i], to, edges[i])
    redis.call('HDEL', KEYS[i], parent)
  end
end

return {'followed', table.concat(letters)}
