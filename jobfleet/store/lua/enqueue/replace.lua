-- replace: replace the holder of a unique key, which has not started, by a new job.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 meta        hash    id → clear record
--         7 expiry      zset    ids by expires_at (µs)
--         8 totals      hash    counts
--         9 unique      hash    key → lock
--         10 locks      zset    keys held for a time, by its end (µs)
--         11 done       stream  finished jobs
--         12 watched    hash    ids of jobs with dependants
--         13 outbox     stream  endings of jobs with dependants
--         14 journal    stream  lifecycle events
--         15 grouped    zset    waiting jobs of groups
--         16 ring       zset    groups by their turn
--         17 gdue       zset    groups by the time of the next check of their turn (µs)
--         18 job:<id>   string  envelope of the new job
--         19 job:<holder> string envelope of the replaced job
--         20 result:<holder> string its ending
--         21 value:<holder> string record of its ending, if it is stored for a shorter time
--         22 steps:<holder> hash its signals
--         23 indexes    zset    index → time of its next cleaning (µs)
--         24..* index:<name> zset each index of the new job
-- READS   tries         hash    id → tries
--         steps:<id>    hash    whether the holder of a key has begun to wait, under @
--         conf          hash    paused, journal
--         result:<id>   string  tombstone
--         listeners     string  whether the events have a listener
--         parents:<id>  hash    number of open parents of the next job of a sequence
-- ARGV    1 tag         text    the lane's prefix
--         2 key         text    the unique key
--         3 holder      text    id of the replaced job
--         4 ttl         int     ms for which its ending is stored
--         5 id          text    id of the new job
--         6 band        int     0..3
--         7 when        text    "" now, "+µs" from now, "µs" at
--         8 meta        text    clear record of the new job (x +µs counts from now)
--         9 envelope    bytes   header and body
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"replaced", now} | {"exists"} | {"changed"}   changed: the holder has started, or is another job now
-- EMITS   cancelled, enqueued
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/base/meta
-- @include lib/waiting/due
-- @include lib/job/unique
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/ending/ended
-- @include lib/ending/kept
-- @include lib/job/index

local tag, key, holder, ttl, id, when = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[7]
local keys = {
  meta = KEYS[6], expiry = KEYS[7], totals = KEYS[8], unique = KEYS[9], done = KEYS[11], watched = KEYS[12], outbox = KEYS[13],
  journal = KEYS[14], wake = KEYS[5], grouped = KEYS[15], ring = KEYS[16], gdue = KEYS[17],
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4],
}
local now = now_us()

if redis.call('EXISTS', KEYS[18], tag .. 'result:' .. id) > 0 then return {'exists'} end
local value = redis.call('HGET', KEYS[9], key)
local band, score
for n = 1, 4 do
  local place = redis.call('ZSCORE', KEYS[n], holder)
  if place then band, score = n, place end
end
if not band or not value or lock_of(value).id ~= holder or redis.call('HEXISTS', tag .. 'tries', holder) == 1
  or redis.call('HEXISTS', tag .. 'steps:' .. holder, '@') == 1 then
  return {'changed'}
end
local item = {
  id = holder, job_key = KEYS[19], result_key = KEYS[20], value_key = KEYS[21], steps_key = KEYS[22],
  meta = redis.call('HGET', KEYS[6], holder),
  watched = redis.call('HGET', KEYS[12], holder), envelope = redis.call('GET', KEYS[19]) or '',
}
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local batch = new_batch(now)
batch.paused, batch.journal, batch.heard = conf[1], conf[2], is_heard(tag)
local due, is_now = due_of(when, now, int(now))
local indexes = {}
local meta = dated(take_indexes(indexes, ARGV[8], id, now, due), now)
local expires = meta_field(meta, 'x')
local lock, till = lock_for(id, meta_field(meta, 's'), now)

-- Locks and envelopes come last: a job that has either counts as enqueued, and must be complete (docs/adr/0012).
redis.call('HSET', KEYS[6], id, meta)
if expires then redis.call('ZADD', KEYS[7], expires, id) end
if till > 0 then redis.call('ZADD', KEYS[10], int(till), key) end
write_indexes(indexes, tag, now)
leave(batch, keys, item, band - 1, score)
write_ended(batch, item, 'cancelled', ttl, 'replaced-by:' .. id)
shorten_kept(item, ttl, true)
count(batch, 'enqueued', 1)
stand(batch, keys, {id = id, meta = meta}, tonumber(ARGV[6]), tonumber(due))
batch.woken = is_now
if batch.heard or batch.journal then
  batch.events[#batch.events + 1] = {'enqueued', id, '0', 0, words = ARGV[6] .. ' ' .. due, envelope = ARGV[9]}
end
flush(batch, keys, tag)
redis.call('SET', KEYS[18], ARGV[9])
redis.call('HSET', KEYS[9], key, lock)

return {'replaced', int(now)}
