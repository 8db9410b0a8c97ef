-- sweep: remove entries of deleted jobs from an index. One page; the caller continues while more is left.
--
-- KEYS    1 index:<name> zset   ids by enqueue time (µs)
--         2 indexes     zset    index → time of its next cleaning (µs)
-- READS   job:<id>      string  envelope of an open job
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
-- ARGV    1 tag         text    the lane's prefix
--         2 name        text    the index
--         3 skip        int     number of the oldest entries that were checked and stay
--         4 idle        int     maximum µs by which the next cleaning is delayed because no entry is new
-- FLAGS   allow-oom
-- RETURNS {"swept", gone, kept, more}   of this page; more is 1 if there is a next one
-- EMITS   -
-- COST    O(50 · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/index

local tag, name, skip, idle = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = now_us()

local found = redis.call('ZRANGE', KEYS[1], skip, skip + 49)
local newest = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
local count, left = redis.call('ZCARD', KEYS[1]), redis.call('PTTL', KEYS[1])
local dead = #found > 0 and redis.call('HMGET', tag .. 'dead', unpack(found)) or {}
local gone = {}
for i = 1, #found do
  if not dead[i] and redis.call('EXISTS', tag .. 'job:' .. found[i], tag .. 'result:' .. found[i]) == 0 then
    gone[#gone + 1] = found[i]
  end
end
local more = #found == 50

if #gone > 0 then redis.call('ZREM', KEYS[1], unpack(gone)) end
if count == #gone then
  redis.call('ZREM', KEYS[2], name)
elseif not more then
  -- The longer the index has had no new entry, and the larger it is, the later the next check; at most a day.
  local pause = math.min(86400000000, math.max(FIRST_LOOK, math.min(idle, now - tonumber(newest)), 4000 * count))
  redis.call('ZADD', KEYS[2], int(now + pause), name)
  if left < INDEX_KEPT then redis.call('PEXPIRE', KEYS[1], int(INDEX_KEPT)) end
end

return {'swept', #gone, #found - #gone, more and 1 or 0}
