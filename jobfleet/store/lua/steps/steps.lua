-- steps: the results of steps that a job's runs have stored.
--
-- KEYS    1 steps:<id>  hash    step → encoded result; bytes of all under the empty name, the wait of the job under @
-- ARGV    1 name        text    only the record of this name; empty for all
-- FLAGS   no-writes
-- RETURNS {"steps", now, step, record, …}
-- EMITS   -
-- COST    O(steps)
-- @include lib/base/clock
-- @include lib/base/number

local name = ARGV[1]
local found = name ~= '' and {name, redis.call('HGET', KEYS[1], name) or nil} or redis.call('HGETALL', KEYS[1])
local reply = {'steps', int(now_us())}
for i = 1, #found, 2 do
  if found[i + 1] and found[i] ~= '' and found[i] ~= '@' then
    reply[#reply + 1] = found[i]
    reply[#reply + 1] = found[i + 1]
  end
end

return reply
