-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/group/rest

-- Whether any job can be claimed at `now`; of jobs of groups, whether any group's turn is to be looked at.
local function any_due(tag, now)
  for band = 0, 3 do
    local first = redis.call('ZRANGEBYSCORE', tag .. 'ready:' .. band, FIRST_PLAIN, int(now), 'LIMIT', 0, 1)
    if first[1] then return true end
  end
  if redis.call('ZRANGEBYSCORE', tag .. 'gdue', '-inf', int(now), 'LIMIT', 0, 1)[1] then return true end
  return redis.call('ZRANGEBYSCORE', tag .. 'ring', '-inf', '(' .. int(REST), 'LIMIT', 0, 1)[1] ~= nil
end
