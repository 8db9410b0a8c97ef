-- return_parked: make parked jobs due at once, for a worker that knows their functions.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 tries       hash    id → tries
--         7 grouped     zset    waiting jobs of groups
--         8 ring        zset    groups by their turn
--         9 gdue        zset    groups by the time of the next check of their turn (µs)
-- READS   job:<id>      string  envelope
--         meta          hash    id → clear record
--         conf          hash    paused
-- ARGV    1 tag         text    the lane's prefix
--         2 window      int     µs; a parked job is due within this time
--         3 range       int     0..7, where to continue: plain and grouped jobs of each band, CRITICAL first
--         4 passed      int     number of jobs of that range, from the latest, that were seen and left
--         5..* function text    names
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"returned", n, range, passed}   n jobs are due; range 8: there are not any more
-- EMITS   -
-- COST    O(200 · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/score
-- @include lib/waiting/foreign
-- @include lib/ending/batch

local tag, window, range, passed = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], wake = KEYS[5], tries = KEYS[6], grouped = KEYS[7],
  ring = KEYS[8], gdue = KEYS[9],
}
if redis.call('EXISTS', keys.tries) == 0 then return {'returned', 0, 8, 0} end

local now, known, looks, n = now_us(), {}, LOOKS, 0
for i = 5, #ARGV do known[ARGV[i]] = true end
local batch = new_batch(now)
batch.paused = redis.call('HGET', tag .. 'conf', 'paused')

-- A job waits from when it was parked, before all that are due later, and is not parked any more. One that is read wrongly stays.
local function is_returned(band, id, score)
  local tries = redis.call('HGET', keys.tries, id)
  local head, parked, rest = string.match(tries or '', '^(%d+:%d+:%d+:)(%d+)(.*)$')
  if not head or parked == '0' or #parked > 16 then return false end
  local envelope = redis.pcall('GETRANGE', tag .. 'job:' .. id, '0', HEAD)
  if type(envelope) ~= 'string' or not known[function_of(envelope) or ''] then return false end
  local item = {id = id, meta = redis.call('HGET', tag .. 'meta', id) or nil}
  if tonumber(score) < 0 then leave(batch, keys, item, band, score) end
  stand(batch, keys, item, band, math.min(tonumber(parked), now))
  batch.tries[#batch.tries + 1] = id
  batch.tries[#batch.tries + 1] = head .. '0' .. rest
  return true
end

while range < 8 and looks > 0 do
  local band, from = math.floor(range / 2), range % 2 == 0 and now or now - GROUPED
  local latest, limit = int(from + window), {'LIMIT', int(passed), int(looks)}
  local found = redis.call('ZREVRANGEBYSCORE', KEYS[band + 1], latest, '(' .. int(from), 'WITHSCORES', unpack(limit))
  for i = 1, #found, 2 do
    if is_returned(band, found[i], found[i + 1]) then n = n + 1 else passed = passed + 1 end
  end
  if #found < 2 * looks then range, passed = range + 1, 0 end
  looks = looks - #found / 2
end
flush(batch, keys, tag)

return {'returned', n, range, passed}
