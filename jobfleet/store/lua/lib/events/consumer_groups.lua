-- The consumer groups of a journal: name → {pending, delivered}, where delivered is the number of the last event read.
-- Without the stream, a server replies with an error.
local function consumer_groups(journal)
  local groups = {}
  if redis.call('EXISTS', journal) == 0 then return groups, false end
  local rows = redis.call('XINFO', 'GROUPS', journal)
  for i = 1, #rows do
    local facts = {}
    for k = 1, #rows[i], 2 do facts[rows[i][k]] = rows[i][k + 1] end
    groups[facts.name] = {pending = facts.pending, delivered = tonumber(string.match(facts['last-delivered-id'], '^%d+'))}
  end
  return groups, true
end
