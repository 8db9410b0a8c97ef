-- pending_ends: the endings of which dependants are still to be notified, oldest first, with some of the dependants of each.
--
-- KEYS    1 outbox      stream  endings of jobs with dependants
-- READS   dependants:<id> zset  dependants by the last ending of which they were notified (ms)
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
--         job:<id>      string  envelope, if it is open again
-- ARGV    1 tag         text    the lane's prefix
--         2 limit       int     how many endings; fewer if they have many dependants or large results
-- FLAGS   no-writes
-- RETURNS {"pending", {entry, id, state, result, {child, …}}, …}   state as of dependants; at most 100 children each
-- EMITS   -
-- COST    O(limit · log n)

local tag = ARGV[1]
local LINKS, BYTES = 100, 1048576  -- no further ending after so many dependants, or so much of results
local TOGETHER = 10  -- results are read so many at a time; more would be read in vain if they are large

local found = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])

local ids = {}
for i = 1, #found do ids[i] = found[i][2][1] == 'id' and found[i][2][2] or '' end

local reply, links, bytes, results = {'pending'}, 0, 0, {}
for i = 1, #found do
  if links >= LINKS or bytes >= BYTES then break end
  local entry, id, place = found[i][1], ids[i], (i - 1) % TOGETHER + 1
  if place == 1 then
    local asked = {}
    for n = 1, math.min(TOGETHER, #found - i + 1) do asked[n] = tag .. 'result:' .. ids[i + n - 1] end
    results = redis.call('MGET', unpack(asked))
  end
  -- MGET skips a key of a wrong type; GET ends the script, so that the key is repaired.
  local result = results[place] or redis.call('GET', tag .. 'result:' .. id)
  local state = 'ended'
  if not result then
    if redis.call('HEXISTS', tag .. 'dead', id) == 1 then
      state = 'dead'
    else
      state = redis.call('EXISTS', tag .. 'job:' .. id) == 1 and 'open' or 'gone'
    end
  end
  local children = {}
  if state ~= 'open' then
    local before = '(' .. string.sub(entry, 1, string.find(entry, '-', 1, true) - 1)
    children = redis.call('ZRANGEBYSCORE', tag .. 'dependants:' .. id, '-inf', before, 'LIMIT', 0, LINKS)
  end
  links, bytes = links + #children, bytes + #(result or '')
  reply[#reply + 1] = {entry, id, state, result or '', children}
end

return reply
