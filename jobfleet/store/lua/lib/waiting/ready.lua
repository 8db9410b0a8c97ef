-- @include lib/base/number
-- @include lib/waiting/score

local BANDS = {'ready:0', 'ready:1', 'ready:2', 'ready:3'}

-- When the next job of the lane is due, or the next group's turn is to be looked at, after `stamp`; 0 when none is.
-- `only`: the one band, from 1, in which any job stands.
local function next_due(tag, stamp, has_groups, only)
  local due = 0
  if has_groups then
    due = tonumber(redis.call('ZRANGEBYSCORE', tag .. 'gdue', '(' .. stamp, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2] or '0')
  end
  for band = only or 1, only or 4 do
    local later = redis.call('ZRANGEBYSCORE', tag .. BANDS[band], '(' .. stamp, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    if later[2] and not is_blocked(later[2]) and (due == 0 or tonumber(later[2]) < due) then due = tonumber(later[2]) end
  end
  return due
end
