-- @include lib/base/number

-- Deliveries of a channel. In `groups` a kind has: gathered first last window, and one of its notices on the lines after; in `held`
-- a delivery has: attempts made count first last kind, and its notice. Times are µs. Immediate deliveries are due in order of creation.
local MOST_HELD = 1000

local function group_row(count, first, last, window, notice)
  return int(count) .. ' ' .. int(first) .. ' ' .. int(last) .. ' ' .. int(window) .. '\n' .. notice
end

local function read_group(row)
  local head, notice = string.match(row, '^([^\n]*)\n(.*)$')
  local count, first, last, window = string.match(head, '^(%d+) (%d+) (%d+) (%d+)$')
  return tonumber(count), tonumber(first), tonumber(last), tonumber(window), notice
end

local function deliver(due, held, id, now, order, count, first, last, kind, notice)
  local head = '0 ' .. int(now) .. ' ' .. int(count) .. ' ' .. int(first) .. ' ' .. int(last) .. ' ' .. kind
  redis.call('HSET', held, id, head .. '\n' .. notice)
  redis.call('ZADD', due, int(now + order), id)
end
