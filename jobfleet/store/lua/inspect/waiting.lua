-- waiting: a page of the jobs that wait in one band, by due time.
--
-- KEYS    1 ready:<p>   zset    job ids by due time (µs)
-- READS   tries         hash    id → tries
--         job:<id>      string  envelope
--         steps:<id>    hash    the wait of the job, under @
--         meta          hash    id → clear record, since when it waits
-- ARGV    1 tag         text    the lane's prefix
--         2 from        text    lowest due time, as a bound of ZRANGEBYSCORE
--         3 to          text    highest due time
--         4 skip        int     number of entries to skip
--         5 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"waiting", now, {id, due, tries, envelope, since and signal of a wait in a run}, …}
-- EMITS   -
-- COST    O(log n + skip + limit)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/awaited

local tag, from, to, skip, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local now = now_us()
local stamp = int(now)

local found = redis.call('ZRANGEBYSCORE', KEYS[1], from, to, 'WITHSCORES', 'LIMIT', skip, limit)
local ids, keys = {}, {}
for i = 1, #found, 2 do
  ids[#ids + 1] = found[i]
  keys[#keys + 1] = tag .. 'job:' .. found[i]
end
if #ids == 0 then return {'waiting', stamp} end
local envelopes = redis.call('MGET', unpack(keys))
local tries = redis.call('HMGET', tag .. 'tries', unpack(ids))

local reply = {'waiting', stamp}
for i = 1, #ids do
  reply[i + 2] = {ids[i], found[2 * i], tries[i] or '', envelopes[i] or '', awaited(tag, ids[i], found[2 * i], now)}
end
return reply
