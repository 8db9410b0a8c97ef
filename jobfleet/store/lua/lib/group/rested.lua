-- @include lib/base/number
-- @include lib/group/limit
-- @include lib/group/rest

-- Groups that rest without a reason, among `limit` resting ones from a random start: the process that freed them may
-- have died before it woke them.
local function rested(tag, rates, now, limit)
  local free, count = {}, redis.call('ZCOUNT', tag .. 'ring', int(REST), '+inf')
  if count == 0 then return free end
  local from = now % count
  local found = redis.call('ZRANGEBYSCORE', tag .. 'ring', int(REST), '+inf', 'LIMIT', int(from), limit)
  local all = limits_of(redis.call('HGET', tag .. 'conf', 'limit:*'))
  for i = 1, #found do
    local name = string.sub(found[i], 2)
    local set = redis.call('HMGET', tag .. 'conf', 'limit:' .. name, 'paused:' .. name)
    if not set[2] and not redis.call('ZSCORE', tag .. 'gdue', found[i]) then
      if group_room(limits_of(set[1], all), tag .. 'held', rates, name, now).most > 0 then free[#free + 1] = found[i] end
    end
  end
  return free
end
