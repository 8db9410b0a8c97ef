-- Redis finds members by their text only while all have the same score: one member with another score would hide the
-- others. What a foreign client has written so is put at 0, where each reader passes over it, however much it is; the mark
-- tells `tick`, which reports it.
local LEVELLED = '!levelled'

local function level(key)
  if redis.call('ZCARD', key) == redis.call('ZCOUNT', key, '0', '0') then return end
  local sides = {{'(0', '+inf'}, {'-inf', '(0'}}
  for i = 1, 2 do
    while true do
      local found = redis.call('ZRANGEBYSCORE', key, sides[i][1], sides[i][2], 'LIMIT', 0, 500)
      if #found == 0 then break end
      local rows = {}
      for n = 1, #found do rows[2 * n - 1], rows[2 * n] = '0', found[n] end
      redis.call('ZADD', key, unpack(rows))
    end
  end
  redis.call('ZADD', key, '0', LEVELLED)
end
