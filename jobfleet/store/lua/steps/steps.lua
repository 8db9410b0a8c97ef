-- steps: the results of steps that a job's runs have stored.
--
-- KEYS    1 steps:<id>  hash    step → encoded result; bytes of all under the empty name
-- FLAGS   no-writes
-- RETURNS {"steps", step, record, …}
-- EMITS   -
-- COST    O(steps)

local found = redis.call('HGETALL', KEYS[1])
local reply = {'steps'}
for i = 1, #found, 2 do
  if found[i] ~= '' then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
  end
end

return reply
