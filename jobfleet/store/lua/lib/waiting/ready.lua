-- @include lib/base/number
-- @include lib/waiting/bounds

local BANDS = {'ready:0', 'ready:1', 'ready:2', 'ready:3'}

-- The time after `stamp` at which the next job of the lane is due, or the next group's turn must be checked; 0 for none.
-- `only`: the only band, from 1, that has jobs.
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
