-- set_aside: remove unreadable jobs from the lane, and store all their data as dead letters.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 lease       zset    running ids by lease deadline (µs)
--         6 runs        hash    id → run
--         7 tries       hash    id → tries
--         8 meta        hash    id → clear record
--         9 unique      hash    key → lock
--         10 expiry     zset    ids by expires_at (µs)
--         11 done       stream  finished jobs
--         12 dlq        stream  dead letters
--         13 dead       hash    id → entry in dlq
--         14 totals     hash    counts
--         15 wake       zset    marker on which idle children block
--         16 watched    hash    ids of jobs with dependants
--         17 outbox     stream  endings of jobs with dependants
--         18 journal    stream  lifecycle events
--         19 grouped    zset    waiting jobs of groups
--         20 ring       zset    groups by their turn
--         21 gdue       zset    groups by the time of the next check of their turn (µs)
--         22 held       zset    running jobs of groups
--         23..* job:<id> string job:<id> and result:<id>, two keys per item; the result is that of the letter's id
-- READS   conf          hash    paused, journal, limit, groups
--         listeners     string  whether the events have a listener
--         parents:<id>  hash    number of open parents of the next job of a sequence
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms for which the ending is stored
--         3..* item     bytes   five per item: id, its run, 1 if only the run is unreadable, letter's id, record
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"set-aside", now, letters}   a set aside, b put back, l no longer there, or with another run;
--         a run is its token, or the whole record if that is unreadable; empty without a run
-- EMITS   failed, released
-- COST    O(items · log n)
-- @include lib/base/stamp
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/job/run
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/ending/letters

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, ttl = ARGV[1], ARGV[2]
local stamp = now_stamp()
local now = tonumber(stamp)
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], lease = KEYS[5], runs = KEYS[6], tries = KEYS[7],
  meta = KEYS[8], unique = KEYS[9], expiry = KEYS[10], done = KEYS[11], dlq = KEYS[12], dead = KEYS[13], totals = KEYS[14],
  wake = KEYS[15], watched = KEYS[16], outbox = KEYS[17], journal = KEYS[18], grouped = KEYS[19], ring = KEYS[20],
  gdue = KEYS[21], held = KEYS[22],
}

local function is_seen(run, seen)
  return run == seen or seen ~= '' and string.sub(run, 1, #seen + 1) == seen .. '|'
end

local items, letters, taken = {}, {}, {}
for n = 1, (#ARGV - 2) / 5 do
  local at = 5 * n - 2
  local id, job_key = ARGV[at], KEYS[21 + 2 * n]
  local run = redis.call('HGET', keys.runs, id) or ''
  local item = {id = id, job_key = job_key, result_key = KEYS[22 + 2 * n], name = ARGV[at + 3], record = ARGV[at + 4], run = run}
  for band = 0, 3 do
    local score = redis.call('ZSCORE', keys['ready' .. band], id)
    if score then item.band, item.score = band, score end
  end
  item.envelope = redis.call('MGET', job_key)[1] or ''  -- MGET returns nothing, not an error, for another type
  item.tries, item.meta = redis.call('HGET', keys.tries, id) or nil, redis.call('HGET', keys.meta, id) or nil
  item.watched = redis.call('HGET', keys.watched, id) or nil
  item.dead = redis.call('HGET', keys.dead, item.name)
  local is_there = run ~= '' or item.band or redis.call('ZSCORE', keys.lease, id) or redis.call('ZSCORE', keys.expiry, id)
  if taken[id] or not is_there or not is_seen(run, ARGV[at + 1]) then
    letters[n] = 'l'
  else
    letters[n] = ARGV[at + 2] == '1' and redis.call('EXISTS', job_key) == 1 and 'b' or 'a'
  end
  taken[id], items[n] = true, item
end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal', 'limit', 'groups')

local batch = new_batch(now)
batch.paused, batch.journal, batch.heard = conf[1], conf[2], is_heard(tag)
for n = 1, #items do
  local item, letter = items[n], letters[n]
  if letter ~= 'l' then
    batch.over[#batch.over + 1] = item.id
    local group = item.meta and meta_field(item.meta, 'g')
    if group then groups_of(batch, keys).freed(group, item.id, conf[4]) end
  end
  if letter == 'b' then
    if not item.band then stand(batch, keys, item, run_parts(item.run).band, now) end
    if item.tries and not item.band then count(batch, 'retrying', 1) end
    count(batch, 'released', 1)
    note(batch, 'released', item.id, '0', stamp, item.envelope, nil, item.tries)
  elseif letter == 'a' then
    local band = item.band or run_parts(item.run).band
    dead_letter(batch, item, 'reason', 'unreadable', 'band', int(band), 'tries', '0:0:0:0:0', 'meta', '', 'record', item.record,
      'envelope', item.envelope, 'raw_id', item.id, 'raw_run', item.run, 'raw_tries', item.tries or '', 'raw_meta', item.meta or '')
    store_result(batch, item, 'failed ' .. stamp .. ' 0 0 - - unreadable\n' .. item.record, ttl)
    if item.band then
      leave(batch, keys, item, item.band, item.score)
      if item.tries then count(batch, 'retrying', -1) end
    end
    batch.expiry[#batch.expiry + 1] = item.id
    item.is_failure = true
    forget(batch, item)
    finished(batch, item.name, 'fa', '0')
    count(batch, 'failed', 1)
    note(batch, 'failed', item.name, '0', 'unreadable 0 ' .. int(band), item.envelope, item.record, nil)
  end
end
if conf[3] and #batch.over > 0 then batch.woken = true end
flush(batch, keys, tag)

return {'set-aside', stamp, table.concat(letters)}
