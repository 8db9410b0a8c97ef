-- cancel: end waiting jobs; request the stop of running ones.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 runs        hash    id → run
--         6 tries       hash    id → tries
--         7 meta        hash    id → clear record
--         8 unique      hash    key → lock
--         9 expiry      zset    ids by expires_at (µs)
--         10 done       stream  finished jobs
--         11 totals     hash    counts
--         12 watched    hash    ids of jobs with dependants
--         13 outbox     stream  endings of jobs with dependants
--         14 journal    stream  lifecycle events
--         15 grouped    zset    waiting jobs of groups
--         16 ring       zset    groups by their turn
--         17 gdue       zset    groups by the time of the next check of their turn (µs)
--         18 wake       zset    marker on which idle children block
--     19..* job:<id> string job:<id>, result:<id>, value:<id>, steps:<id>, log:<id>, chunks:<id>, parents:<id>, seven keys per item
-- READS   conf          hash    paused, journal
--         parents:<id>  hash    number of open parents of the next job of a sequence
--         dead          hash    id → entry in dlq
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 control     text    the channel of the supervisors
--         3 who         text    requester; - if unknown
--         4 ttl         int     ms for which the ending is stored
--         5 reason      text    why a waiting job ends, moved:<id> for its new job in another queue; - for none
--         6..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"cancelled", letters}   c cancelled, r requested, f final already, u unknown
-- EMITS   cancelled
-- COST    O(items · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/ending/ended
-- @include lib/ending/kept
-- @include lib/job/life

local tag, control, who, ttl, reason = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], runs = KEYS[5], tries = KEYS[6], meta = KEYS[7],
  unique = KEYS[8], expiry = KEYS[9], done = KEYS[10], totals = KEYS[11], watched = KEYS[12], outbox = KEYS[13], journal = KEYS[14],
  grouped = KEYS[15], ring = KEYS[16], gdue = KEYS[17], wake = KEYS[18],
}
local now = now_us()

local items, letters, seen = {}, {}, {}
for i = 1, #ARGV - 5 do
  local id = ARGV[5 + i]
  local at = 12 + 7 * i
  local item = {
    id = id, job_key = KEYS[at], result_key = KEYS[at + 1], value_key = KEYS[at + 2], steps_key = KEYS[at + 3],
    log_key = KEYS[at + 4], chunks_key = KEYS[at + 5], parents_key = KEYS[at + 6],
  }
  items[i] = item
  item.tries = redis.call('HGET', keys.tries, id)
  item.meta = redis.call('HGET', keys.meta, id)
  item.watched = redis.call('HGET', keys.watched, id)
  item.record = redis.call('HGET', keys.runs, id)
  if item.record then
    letters[i] = 'r'
  elseif redis.call('EXISTS', item.result_key) == 1 or seen[id] then
    letters[i] = 'f'
  else
    letters[i] = 'u'
    for band = 0, 3 do
      local score = redis.call('ZSCORE', keys['ready' .. band], id)
      if score then letters[i], item.band, item.score = 'c', band, score end
    end
    if letters[i] == 'u' and redis.call('HEXISTS', tag .. 'dead', id) == 1 then letters[i] = 'f' end
    item.envelope = redis.call('GET', item.job_key) or ''
  end
  seen[id] = true
end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)

local batch = new_batch(now)
batch.paused, batch.journal, batch.heard = conf[1], conf[2], heard
for i = 1, #items do
  local item = items[i]
  if letters[i] == 'c' then
    leave(batch, keys, item, item.band, item.score)
    if item.tries then count(batch, 'retrying', -1) end
    write_ended(batch, item, 'cancelled', ttl, reason == '-' and who or who .. ' ' .. reason)
    shorten_kept(item, ttl, true)
  elseif letters[i] == 'r' then
    local run = run_parts(item.record)
    if run.cancel == '' then
      redis.call('HSET', keys.runs, item.id, item.record .. who .. '@' .. int(now))
      redis.call('HSET', keys.meta, item.id, with_event(item.meta or '', 'cancelled', int(now), who, ''))
    end
    redis.call('PUBLISH', control, 'cancel ' .. item.id .. ' ' .. run.token .. ' ' .. run.child .. ' ' .. who)
  end
end
flush(batch, keys, tag)

return {'cancelled', table.concat(letters)}
