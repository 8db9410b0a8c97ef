-- gather: process notices for a channel; the first of a kind is sent at once, the others are collected until its window ends.
--
-- KEYS    1 notify:<channel>:gathered zset marks of processed notices, by time
--         2 notify:<channel>:windows zset kinds by the end of their window
--         3 notify:<channel>:groups hash kind → collected notices; the channel's rate
--         4 notify:<channel>:due  zset  deliveries by the time of the next attempt
--         5 notify:<channel>:held hash  delivery → attempts and content
-- ARGV    1 most        int     maximum number of kinds that are sent at once in five minutes
--         2 marks       int     maximum number of stored marks
--         3..* item     text    six per item: mark, kind, window (µs, 0: each on its own), delivery, time (µs), notice
-- FLAGS   allow-oom
-- RETURNS {"gathered", new}
-- EMITS   -
-- COST    O(items · log kinds)

-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/delivery
local FIVE_MINUTES = 300000000
local REST = 'rest'
local MARKS_LAST = 7 * 86400000000
local now = now_us()
local marks, windows, groups, due, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local most = tonumber(ARGV[1])

local known = {}
for i = 3, #ARGV, 6 do known[ARGV[i]] = redis.call('ZSCORE', marks, ARGV[i]) end
local rate = redis.call('HGET', groups, ':rate') or '0 0'
local since, sent = string.match(rate, '^(%d+) (%d+)$')
since, sent = tonumber(since), tonumber(sent)
if now - since >= FIVE_MINUTES then since, sent = now, 0 end

local new = 0
for i = 3, #ARGV, 6 do
  if not known[ARGV[i]] then
    local kind, window, at, notice = ARGV[i + 1], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 4]), ARGV[i + 5]
    local is_open = window > 0 and redis.call('ZSCORE', windows, kind)
    local has_room = redis.call('HLEN', held) < MOST_HELD
    if not is_open and has_room and (window == 0 or sent < most) then
      deliver(due, held, ARGV[i + 3], now, i - #ARGV, 1, at, at, kind, notice)
      if window > 0 then
        sent = sent + 1
        redis.call('ZADD', windows, int(now + window), kind)
        redis.call('HSET', groups, kind, group_row(0, 0, 0, window, ''))
      end
    else
      if not is_open then
        kind, window = REST, FIVE_MINUTES
        redis.call('ZADD', windows, 'NX', int(now + window), kind)
      end
      local row = redis.call('HGET', groups, kind) or group_row(0, 0, 0, window, '')
      local count, first, last, lasting, one = read_group(row)
      if count == 0 then first, last, one = at, at, notice end
      redis.call('HSET', groups, kind, group_row(count + 1, math.min(first, at), math.max(last, at), lasting, one))
    end
    redis.call('ZADD', marks, int(now), ARGV[i])
    known[ARGV[i]], new = true, new + 1
  end
end

if new > 0 then
  redis.call('HSET', groups, ':rate', int(since) .. ' ' .. int(sent))
  redis.call('ZREMRANGEBYSCORE', marks, '-inf', int(now - MARKS_LAST))
  redis.call('ZREMRANGEBYRANK', marks, 0, -tonumber(ARGV[2]) - 1)
end

return {'gathered', new}
