-- take: end a channel's windows that are over, and take a due delivery; it returns after the lease unless it is settled.
--
-- KEYS    1 notify:<channel>:gathered zset marks of processed notices, by time
--         2 notify:<channel>:windows zset kinds by the end of their window
--         3 notify:<channel>:groups hash kind → collected notices; the channel's rate
--         4 notify:<channel>:due  zset  deliveries by the time of the next attempt
--         5 notify:<channel>:held hash  delivery → attempts and content
-- ARGV    1 lease       int     duration of the lease in µs
--         2 ttl         int     ms for which all is stored after the last call
--         3 limit       int     maximum number of windows to end
--         4 rules       text    digest of the caller's channels and rules
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"taken", now, next, others, delivery, attempts and content}
--         {"none", now, next, others}
--         others: 1 if a caller had different rules a moment ago
-- EMITS   -
-- COST    O(limit · log kinds)

-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/delivery
local MOMENT = 5000000
local now = now_us()
local marks, windows, groups, due, held = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local lease, ttl, rules = tonumber(ARGV[1]), ARGV[2], ARGV[4]

local ended = redis.call('ZRANGEBYSCORE', windows, '-inf', int(now), 'WITHSCORES', 'LIMIT', 0, tonumber(ARGV[3]))
local before, since = string.match(redis.call('HGET', groups, ':rules') or ' 0', '^(%S*) (%d+)$')
local is_fresh = now - tonumber(since) < MOMENT
local others = (is_fresh and before ~= rules) and 1 or 0
local room = MOST_HELD - redis.call('HLEN', held)

if before ~= rules or not is_fresh then redis.call('HSET', groups, ':rules', rules .. ' ' .. int(now)) end
for i = 1, #ended, 2 do
  local kind, row = ended[i], redis.call('HGET', groups, ended[i])
  local count, first, last, window, notice = 0, 0, 0, 0, ''
  if row then count, first, last, window, notice = read_group(row) end
  if count == 0 then
    redis.call('ZREM', windows, kind)
    redis.call('HDEL', groups, kind)
  else
    if room > 0 then
      deliver(due, held, kind .. '-' .. int(tonumber(ended[i + 1])), now, i - #ended, count, first, last, kind, notice)
      redis.call('HSET', groups, kind, group_row(0, 0, 0, window, ''))
      room = room - 1
    end
    redis.call('ZADD', windows, int(now + window), kind)
  end
end

local id = redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, 1)[1]
local row = id and redis.call('HGET', held, id)
if id and not row then redis.call('ZREM', due, id) end
if row then
  local attempts, rest = string.match(row, '^(%d+)(.*)$')
  row = int(tonumber(attempts) + 1) .. rest
  redis.call('HSET', held, id, row)
  redis.call('ZADD', due, int(now + lease), id)
end
for _, key in ipairs({marks, windows, groups, due, held}) do redis.call('PEXPIRE', key, ttl) end

local soonest = 0
for _, key in ipairs({windows, due}) do
  local at = tonumber(redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')[2] or 0)
  if at > 0 and (soonest == 0 or at < soonest) then soonest = at end
end
if row then return {'taken', int(now), int(soonest), others, id, row} end
return {'none', int(now), int(soonest), others}
