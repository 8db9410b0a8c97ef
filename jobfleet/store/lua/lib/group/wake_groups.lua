-- @include lib/base/number
-- @include lib/group/rest

-- The bands in which a group rests; for all groups (*), a page of resting ones, after `skip` of them.
local function resting(tag, group, skip)
  if group == '*' then return redis.call('ZRANGEBYSCORE', tag .. 'ring', int(REST), '+inf', 'LIMIT', skip, 50) end
  local found = {}
  for band = 0, 3 do
    local place = redis.call('ZSCORE', tag .. 'ring', band .. group)
    if place and rests(place) then found[#found + 1] = band .. group end
  end
  return found
end

-- Makes their turns due now.
local function wake_groups(gdue, found, now)
  for i = 1, #found do redis.call('ZADD', gdue, 'LT', int(now), found[i]) end
end
