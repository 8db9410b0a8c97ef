-- undo_replay: make dead letters again of replayed jobs that have not started, with their old error and history.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 tries       hash    id → tries
--         6 meta        hash    id → clear record
--         7 unique      hash    key → lock
--         8 expiry      zset    ids by expires_at (µs)
--         9 dlq         stream  dead letters
--         10 dead       hash    id → entry in dlq
--         11 totals     hash    counts
--         12 watched    hash    ids of jobs with dependants
--         13 journal    stream  lifecycle events
--         14 grouped    zset    waiting jobs of groups
--         15 ring       zset    groups by their turn
--         16 gdue       zset    groups by the time of the next check of their turn (µs)
--         17..* job:<id> string job:<id>, result:<id>, rescued:<id>, steps:<id>, log:<id>, chunks:<id>, parents:<id>, seven keys per item
-- READS   runs          hash    id → run
--         conf          hash    journal
--         listeners     string  whether the events have a listener
--         parents:<id>  hash    number of open parents of the next job of a sequence
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms for which the ending is stored
--         3..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"undone", letters}   u a dead letter again, k it has started, or has no copy
-- EMITS   failed
-- COST    O(items · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/ending/letters
-- @include lib/ending/kept

local tag, ttl = ARGV[1], ARGV[2]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], tries = KEYS[5], meta = KEYS[6], unique = KEYS[7],
  expiry = KEYS[8], dlq = KEYS[9], dead = KEYS[10], totals = KEYS[11], watched = KEYS[12], journal = KEYS[13],
  grouped = KEYS[14], ring = KEYS[15], gdue = KEYS[16],
}
local now = now_us()

-- A job that ran since has spent something, or the last line of its history is that of a run.
local function has_run(tries)
  return string.find(tries, '^0:0:0:0:0[:0]*\n') == nil or string.find(tries, '\nreplayed [^\n]*$') == nil
end

local items, letters, seen = {}, {}, {}
for i = 1, #ARGV - 2 do
  local id = ARGV[2 + i]
  local at = 10 + 7 * i
  local item = {
    id = id, job_key = KEYS[at], result_key = KEYS[at + 1], copy_key = KEYS[at + 2], steps_key = KEYS[at + 3],
    log_key = KEYS[at + 4], chunks_key = KEYS[at + 5], parents_key = KEYS[at + 6],
  }
  items[i], letters[i] = item, 'k'
  item.tries, item.meta = redis.call('HGET', keys.tries, id), redis.call('HGET', keys.meta, id)
  item.copy = redis.call('HMGET', item.copy_key, 'reason', 'band', 'tries', 'meta', 'record', 'died')
  for band = 0, 3 do
    local score = redis.call('ZSCORE', keys['ready' .. band], id)
    if score then item.band, item.score = band, score end
  end
  item.watched_before = redis.call('HGET', keys.watched, id)
  item.envelope = redis.call('GET', item.job_key)
  local waits = item.band and item.envelope and redis.call('HEXISTS', tag .. 'runs', id) == 0
  if waits and not seen[id] and item.copy[1] and item.tries and not has_run(item.tries) then letters[i] = 'u' end
  seen[id] = true
end
local journal = redis.call('HGET', tag .. 'conf', 'journal')
local batch = new_batch(now)
batch.journal, batch.heard = journal, is_heard(tag)

for i = 1, #items do
  local item = items[i]
  if letters[i] == 'u' then
    local reason, band, tries, meta, record, died = unpack(item.copy)
    item.dead = redis.call('HGET', keys.dead, item.id)
    dead_letter(batch, item, 'reason', reason, 'band', band, 'tries', tries, 'meta', meta, 'record', record,
      'envelope', item.envelope, 'died', died)
    store_result(batch, item, 'failed ' .. int(now) .. ' 0 0 - - ' .. reason .. '\n' .. record, ttl)
    leave(batch, keys, item, item.band, item.score)
    count(batch, 'retrying', -1)
    item.is_failure = true
    forget(batch, item)
    shorten_kept(item, ttl)
    if item.watched_before then redis.call('HDEL', keys.watched, item.id) end
    batch.jobs[#batch.jobs + 1] = item.copy_key
    note(batch, 'failed', item.id, '0', reason .. ' 0 ' .. band .. ' undone', item.envelope, record, tries)
  end
end
flush(batch, keys, tag)

return {'undone', table.concat(letters)}
