-- deliveries: what a channel has yet to tell.
--
-- KEYS    1 notify:<channel>:windows zset kinds by when their window ends
--         2 notify:<channel>:groups hash kind → what has gathered; the channel's rate
--         3 notify:<channel>:due  zset  deliveries by when to try them
--         4 notify:<channel>:held hash  delivery → attempts and what it tells
-- ARGV    1 limit       int     deliveries and kinds shown, those due first
-- FLAGS   no-writes
-- RETURNS {"deliveries", now, held, open, {delivery, due, row, …}, {kind, end, row, …}}
-- EMITS   -
-- COST    O(limit)

-- @include lib/base/clock
-- @include lib/base/number
local windows, groups, due, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local last = tonumber(ARGV[1]) - 1

local function rows(order, from)
  local found, shown = redis.call('ZRANGE', order, 0, last, 'WITHSCORES'), {}
  for i = 1, #found, 2 do
    shown[#shown + 1] = found[i]
    shown[#shown + 1] = int(tonumber(found[i + 1]))
    shown[#shown + 1] = redis.call('HGET', from, found[i]) or ''
  end
  return shown
end

local count, open = redis.call('HLEN', held), redis.call('ZCARD', windows)
return {'deliveries', int(now_us()), count, open, rows(due, held), rows(windows, groups)}
