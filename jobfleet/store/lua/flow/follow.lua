-- follow: let jobs that wait for one that was moved wait for the job that took its place.
--
-- KEYS    1..* parents:<id> hash parent → place and policy, or what became of it; how many are open; when it is due then
-- ARGV    1 parent      text    id of the job that was moved
--         2 to          text    id of the job that took its place
-- FLAGS   allow-oom
-- RETURNS {"followed", letters}   f it waits for the other now, s it waits for that one anyway, g it does not wait for it
-- EMITS   -
-- COST    O(children)

local KEYS = KEYS  -- globals are slow in a loop
local parent, to = ARGV[1], ARGV[2]

local letters, edges = {}, {}
for i = 1, #KEYS do
  local said = redis.call('HMGET', KEYS[i], parent, to)
  if not said[1] or string.sub(said[1], 1, 1) ~= '?' then
    letters[i] = 'g'
  else
    letters[i], edges[i] = said[2] and 's' or 'f', said[1]
  end
end

for i = 1, #KEYS do
  if letters[i] == 'f' then
    redis.call('HSET', KEYS[i], to, edges[i])
    redis.call('HDEL', KEYS[i], parent)
  end
end

return {'followed', table.concat(letters)}
