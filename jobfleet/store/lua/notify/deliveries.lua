-- deliveries: the pending notifications of a channel.
--
-- KEYS    1 notify:<channel>:windows zset kinds by the end of their window
--         2 notify:<channel>:groups hash kind → collected notices; the channel's rate
--         3 notify:<channel>:due  zset  deliveries by the time of the next attempt
--         4 notify:<channel>:held hash  delivery → attempts and content
-- ARGV    1 limit       int     maximum number of deliveries and kinds, the first due ones
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
