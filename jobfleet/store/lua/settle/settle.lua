-- settle: end runs. Each item names its verb, a guard (token, expired, waiting or doomed), and the token it was granted.
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
--         23 rates      zset    groups by the time at which their tokens are full again (µs)
--         24 sent:<child> string last settle of the child
--     25..* job:<id> string job:<id>, result:<id>, value:<id>, steps:<id>, log:<id>, chunks:<id>, parents:<id>, seven keys per item
-- READS   conf          hash    paused, journal, limit, groups, functions
--         lane          hash    seen, hold, longest
--         listeners     string  whether the events have a listener
--         parents:<id>  hash    number of open parents of the next job of a sequence
-- ARGV    1 tag         text    the lane's prefix
--         2 child       text    child id; empty for supervisors and reapers
--         3 nonce       int     grows with every trip of the child in this lane
--         4 chunk       int     number of this call within the settle, from 1
--         5 anyway      int     1 in the second attempt: whatever can be missing may fail
--         6 alike       int     number of items, the first ones, that are alike: completed jobs, no id among all items twice
--         7 ttl         int     ms for which their results are stored
--         8 run_us      int     total µs of their runs
--         9 lines       text    their lines in the list of finished jobs, without the common prefix of the ids
--         10 tokens     text    their tokens, separated by a space, shorter ones padded with spaces
--         11..* item    text    their records; then for each other item: verb, guard, id, token, arguments of the verb
-- FLAGS   allow-oom
-- RETURNS {"settled", now, watched, letters}   s settled, d done already, l lost, c cancelled instead, a alive, h held
--         k the job keeps something: send it again as complete_kept
--         {"settled", now, watched, letters, skipped}   skipped: the error of what the second attempt has left out
--         watched: how many of them have dependants; for a repetition, the number of endings in the outbox
--         {"stale"}
-- EMITS   completed, retried, failed, released, parked, withheld, expired, cancelled
-- COST    O(items · log n)
-- @include lib/base/stamp
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/ending/results
-- @include lib/events/entry

local KEYS, ARGV, sub = KEYS, ARGV, string.sub  -- locals are faster in a loop
local tag, child, nonce, chunk = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local stamp = now_stamp()

local trip = child ~= '' and redis.call('GET', KEYS[24]) or false
local answered, is_late = '', false
if trip then
  local seen, rest = string.match(trip, '^(%d+)(.*)$')
  seen = tonumber(seen or '0')
  is_late = nonce < seen
  if nonce == seen then
    answered = rest
    local letters = string.match(rest, '\n' .. chunk .. ' (%a*)')
    -- The reply does not store `watched`; the first reply may have been lost, so all endings in the outbox count.
    if letters then return {'settled', stamp, redis.call('XLEN', KEYS[17]), letters} end
  end
end
local alike = tonumber(ARGV[6])
local ids, starts, at = {}, {}, 11 + alike
-- Alike items have two keys only: first job:<id> of all of them, then result:<id> of all of them.
local begin = #tag + 5  -- an id starts after the tag and "job:"
for n = 1, alike do ids[n] = sub(KEYS[24 + n], begin) end
local TAKES = ARGV[at]
  and {complete = 3, complete_kept = 3, complete_briefly = 5,
    fail = 5, retry = 2, release = 2, wait = 8, park = 2, expire = 1, move = 2, withhold = 2}
while ARGV[at] do
  local n = #ids + 1
  starts[n], ids[n] = at, ARGV[at + 2]
  at = at + 4 + TAKES[ARGV[at]]
end
local runs = redis.call('HMGET', KEYS[6], unpack(ids))
-- A request that comes late finds that its runs are over. If one is not, a foreign client has written the number of a trip
-- that was never sent (docs/adr/0068): the tokens decide, and this trip takes its place.
if is_late then
  local is_held = false
  for n = 1, #ids do
    local token = n > alike and ARGV[starts[n] + 3] or string.match(ARGV[10], '%d+', (#ARGV[10] + 1) / alike * (n - 1) + 1)
    is_held = is_held or runs[n] and find(runs[n], token .. '|', 1, true) == 1
  end
  if not is_held then return {'stale'} end
end
-- One command reads everything that is usually absent.
local plain = redis.call('EXISTS', tag .. 'conf', tag .. 'listeners', KEYS[7], KEYS[8], KEYS[16]) == 0
local tries, metas, watched, conf, has_watched = {}, {}, {}, {}, false
if not plain then
  conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal', 'limit', 'groups', 'functions')
  if redis.call('EXISTS', KEYS[7]) == 1 then tries = redis.call('HMGET', KEYS[7], unpack(ids)) end
  if redis.call('EXISTS', KEYS[8]) == 1 then metas = redis.call('HMGET', KEYS[8], unpack(ids)) end
  if redis.call('EXISTS', KEYS[16]) == 1 then
    watched = redis.call('HMGET', KEYS[16], unpack(ids))
    for n = 1, #ids do has_watched = has_watched or watched[n] end
  end
end

-- Fast path for most endings: alike items with a valid token, plain or with only a group or dependants. It creates no
-- item tables.
local other, count_short, results, done = {}, 0, {}, 'completed ' .. stamp .. ' '
local tokens = ARGV[10]
local width = (#tokens + 1) / alike  -- of a token and a space; the run's record has a bar instead of the space
for n = 1, alike do
  local run, token = runs[n], sub(tokens, width * (n - 1) + 1, width * n - 1)
  if run and find(run, token, 1, true) == 1 and byte(run, width) == 124
    and (plain or not (tries[n] or metas[n] and not is_group_only(metas[n]))) then
    count_short = count_short + 1
    results[2 * count_short - 1], results[2 * count_short] = KEYS[24 + alike + n], done .. token .. '\n' .. ARGV[10 + n]
  else
    other[n] = true
  end
end

-- The reply, which a child's settle stores.
local anyway = ARGV[5] == '1'
local function answer(letters, watchers, skipped)
  if child ~= '' then redis.call('SET', KEYS[24], ARGV[3] .. answered .. '\n' .. chunk .. ' ' .. letters, 'PX', 600000) end
  return {'settled', stamp, watchers, letters, skipped}
end

-- All done: nothing to collect. Without limits nobody waits for a slot. The order of the writes is that of lib/ending/batch.
if count_short == #ids and not anyway and (plain or not (conf[3] or conf[4]) and redis.call('EXISTS', tag .. 'listeners') == 0) then
  local grouped, slots, ended, watchers = {}, {}, {}, {}
  for n = 1, #metas do
    if metas[n] then
      local place = #slots + 1
      grouped[place], slots[place] = ids[n], sub(metas[n], 3) .. '\0' .. ids[n]
    end
  end
  if conf[2] then  -- it stores data that is deleted now
    local envelopes = redis.call('MGET', unpack(KEYS, 25, 24 + alike))
    for n = 1, count_short do ended[2 * n - 1], ended[2 * n] = envelopes[n] or '', ARGV[10 + n] end
  end
  redis.call('ZREM', KEYS[5], unpack(ids))
  for n = 1, has_watched and #ids or 0 do
    if watched[n] then
      watchers[#watchers + 1] = ids[n]
      redis.call('XADD', KEYS[17], '*', 'id', ids[n])
    end
  end
  if slots[1] then redis.call('ZREM', KEYS[22], unpack(slots)) end
  redis.call('XADD', KEYS[11], 'MAXLEN', '~', 10000, '*', 'jobs', ARGV[9])
  if conf[2] then
    local text = string.match(ids[1], '^[^.]*%.%d+%.') .. '\n' .. tokens .. '\n' .. ARGV[9]
    write_entry(KEYS[18], KEYS[14], conf[2], count_short, 'at', stamp, 'completed', text, unpack(ended))
  end
  redis.call('HINCRBY', KEYS[14], 'completed', count_short)
  if ARGV[8] ~= '0' then redis.call('HINCRBY', KEYS[14], 'run_us', ARGV[8]) end
  keep_results(results, ARGV[7])
  redis.call('HDEL', KEYS[6], unpack(ids))
  if slots[1] then redis.call('HDEL', KEYS[8], unpack(grouped)) end
  if has_watched then redis.call('HDEL', KEYS[16], unpack(watchers)) end
  redis.call('UNLINK', unpack(KEYS, 25, 24 + alike))
  return answer(string.rep('s', count_short), #watchers)  -- last, because a script that ends halfway must not have stored a reply
end

-- Needed only for other endings, functions included, because creating them takes time.
-- @include lib/job/run
-- @include lib/base/gap
-- @include lib/base/guard
-- @include lib/events/event
-- @include lib/ending/batch
-- @include lib/ending/ended
-- @include lib/ending/complete
-- @include lib/ending/fail
-- @include lib/ending/move
-- @include lib/ending/wait_again
-- @include lib/ending/wait
-- @include lib/ending/kept
-- @include lib/waiting/score
-- @include lib/ending/withhold

local now = tonumber(stamp)
local keys = {
  ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], lease = KEYS[5], runs = KEYS[6], tries = KEYS[7],
  meta = KEYS[8], unique = KEYS[9], expiry = KEYS[10], done = KEYS[11], dlq = KEYS[12], dead = KEYS[13], totals = KEYS[14],
  wake = KEYS[15], watched = KEYS[16], outbox = KEYS[17], journal = KEYS[18], grouped = KEYS[19], ring = KEYS[20],
  gdue = KEYS[21], held = KEYS[22], rates = KEYS[23],
}
local batch = new_batch(now)
batch.paused, batch.journal, batch.heard, batch.anyway = conf[1], conf[2], not plain and is_heard(tag), anyway
local envelopes = {}
if batch.journal then  -- it stores data that is deleted now
  local jobs = {unpack(KEYS, 25, 24 + alike)}
  for n = alike + 1, #ids do jobs[n] = KEYS[18 - 5 * alike + 7 * n] end
  envelopes = redis.call('MGET', unpack(jobs))
end

local function token_of(n) return string.match(tokens, '^%d+', width * (n - 1) + 1) end
local lines = {}
if count_short < alike or batch.heard or batch.journal then
  for line in string.gmatch(ARGV[9], '[^\n]+') do lines[#lines + 1] = line end
end
local function duration_of(n) return string.match(sub(lines[n], -17), '%d+$') end

if count_short > 0 then
  batch.results[ARGV[7]] = results
  if count_short == alike then
    batch.over = alike == #ids and ids or {unpack(ids, 1, alike)}
    batch.jobs, batch.done = {unpack(KEYS, 25, 24 + alike)}, {ARGV[9]}
    batch.run_us = tonumber(ARGV[8])
  else
    batch.run_us = 0
    for n = 1, alike do
      local place = #batch.over + 1
      if not other[n] then
        batch.over[place], batch.jobs[place], batch.done[place] = ids[n], KEYS[24 + n], lines[n]
        batch.run_us = batch.run_us + duration_of(n)
      end
    end
  end
  count(batch, 'completed', count_short)
end
if not plain then
  for n = 1, alike do
    if metas[n] and not other[n] then
      batch.meta[#batch.meta + 1] = ids[n]
      groups_of(batch, keys).freed(string.sub(metas[n], 3), ids[n], conf[4])
    end
    if watched[n] and not other[n] then batch.watched[#batch.watched + 1] = ids[n] end
    if (batch.heard or batch.journal) and not other[n] then
      note(batch, 'completed', ids[n], token_of(n), duration_of(n), envelopes[n], ARGV[10 + n])
    end
  end
end

local outcomes
if count_short == #ids then
  outcomes = string.rep('s', count_short)
else
  local ENDS = {fail = true, expire = true, move = true}
  local PAST = {retry = 'retried', release = 'released', wait = 'released', park = 'parked', withhold = 'withheld'}
  local items, letters, seen, judging = {}, {}, {}, nil

  local function item_of(n)
    local item
    if n <= alike then
      item = {
        verb = 'complete', guard = 'token', id = ids[n], token = token_of(n), job_key = KEYS[24 + n],
        result_key = KEYS[24 + alike + n], takes = {ARGV[10 + n], ARGV[7], duration_of(n)},
      }
    else
      local from, first = starts[n], 18 - 5 * alike + 7 * n
      item = {
        verb = ARGV[from], guard = ARGV[from + 1], id = ids[n], token = ARGV[from + 3], job_key = KEYS[first],
        result_key = KEYS[first + 1], value_key = KEYS[first + 2], steps_key = KEYS[first + 3],
        log_key = KEYS[first + 4], chunks_key = KEYS[first + 5], parents_key = KEYS[first + 6],
        takes = {unpack(ARGV, from + 4, from + 3 + TAKES[ARGV[from]])},
      }
    end
    -- A field is set only if it exists: to set a field to nil makes a table grow.
    if tries[n] then item.tries = tries[n] end
    if metas[n] then item.meta = metas[n] end
    if watched[n] then item.watched = watched[n] end
    if envelopes[n] then item.envelope = envelopes[n] end
    return item
  end

  local function settled_before(item)
    local line = redis.call('GETRANGE', item.result_key, 0, 80)
    return string.match(line, '^%a+ %d+ (%d+)') == item.token
  end

  -- A job that has begun to wait, or has steps to undo, does not expire any more, whatever a foreign client writes.
  local function has_begun(item)
    local kept = redis.call('HMGET', item.steps_key, '@', 'u:')
    return kept[1] or kept[2]
  end

  -- A waiting job past its expires_at: its state, or nothing.
  local function standing(item)
    local expires = redis.call('ZSCORE', keys.expiry, item.id)
    if not expires or tonumber(expires) > now then return nil end
    if has_begun(item) then
      batch.expiry[#batch.expiry + 1] = item.id
      return nil
    end
    for band = 0, 3 do
      local score = redis.call('ZSCORE', keys['ready' .. band], item.id)
      if score then return band, score end
    end
    return nil
  end

  -- A job that waits behind a failed head whose policy fails the rest (lib/group/sequence): its state, or nothing.
  local function condemned(item)
    local group, place = meta_field(item.meta or '', 'g'), string.match(item.meta or '', '\nn (%d+)')
    if not group or not place then return nil end
    local mark = redis.call('ZRANGEBYLEX', keys.grouped, '[f' .. group .. '\0', '(f' .. group .. '\1', 'LIMIT', 0, 1)[1]
    if not mark or tonumber(place) > (tonumber(sub(mark, #group + 3, #group + 18)) or 0) then return nil end
    for band = 0, 3 do
      local score = redis.call('ZSCORE', keys['ready' .. band], item.id)
      if score then
        item.run = {band = band}
        return band, score
      end
    end
  end

  local function judged(item, run)
    if item.guard == 'waiting' or item.guard == 'doomed' then
      local found = item.guard == 'waiting' and standing or condemned
      if not run then item.band, item.score = found(item) end
      if item.band then return 's' end
      return redis.call('EXISTS', item.result_key) == 1 and 'd' or 'l'
    end
    local token = item.token
    if not run or string.sub(run, 1, #token + 1) ~= token .. '|' then return settled_before(item) and 'd' or 'l' end
    item.ran = true
    -- Somebody has sent it a signal meanwhile, or an earlier run has kept something.
    if not item.steps_key and meta_field(item.meta or '', 'k') then return 'k' end
    if string.find(item.verb, '^complete') then return 's' end
    item.run = run_parts(run)
    -- A run with a result is over, whatever a supervisor or a reaper makes of its lease: only its removal is missing.
    if child == '' and settled_before(item) then
      item.is_over = true
      return 'd'
    end
    if item.guard == 'expired' then
      if judging == nil then judging = may_judge(tag, now) end
      if not judging then return 'h' end
      if tonumber(redis.call('ZSCORE', keys.lease, item.id) or '0') > now then return 'a' end
    end
    if item.run.cancel ~= '' then return 'c' end
    return 's'
  end

  -- An item that occurs twice in one call is settled once.
  local function verdict(item, run)
    if seen[item.id] == item.token then return 'd' end
    local letter = judged(item, run)
    if letter == 's' or letter == 'c' then seen[item.id] = item.token end
    return letter
  end

  for n = 1, #ids do
    local item = (n > alike or other[n]) and item_of(n)
    items[n], letters[n] = item, item and verdict(item, runs[n]) or 's'
    if item and (letters[n] == 'c' or item.is_over or (letters[n] == 's' and ENDS[item.verb])) then
      item.envelope = item.envelope or redis.call('GET', item.job_key) or ''
      item.dead = redis.call('HGET', keys.dead, item.id)
    end
  end

  -- What an attempt has left out that could not write everything. A failed job still needs its dead letter, and the
  -- journal has not heard of the ending: such an attempt writes results first.
  local function finish(item)
    local result = redis.call('GET', item.result_key) or ''
    local line, record = string.match(result, '^([^\n]*)\n(.*)$')
    local status, reason = string.match(line or '', '^%a+'), string.match(line or '', ' (%S+)$')
    if not reason then status = nil end
    if status == 'failed' then
      local spent, left = item.tries or '0:0:0:0:0', redis.call('PTTL', item.result_key)
      fail(batch, item, record, int(math.max(left, 1000)), '0', reason, spent)
    else
      status = status or 'completed'
      forget(batch, item)
      finished(batch, item.id, sub(status, 1, 2), '0')
      local is_completed = status == 'completed'
      local words = is_completed and '0' or string.match(line, '^%S+ %S+ %S+ (%S+ %S+ %S+ ?%S*)') or '0 - - -'
      note(batch, status, item.id, item.token, words, item.envelope, is_completed and record or nil, item.tries)
    end
    count(batch, status, 1)
  end

  for n = 1, #ids do
    local item, letter = items[n], letters[n]
    if item and (letter == 's' or letter == 'c' or item.is_over) then
      local takes = item.takes
      if item.ran then
        batch.over[#batch.over + 1] = item.id
        local group = item.meta and meta_field(item.meta, 'g')
        if group then groups_of(batch, keys).freed(group, item.id, conf[4]) end
      else
        leave(batch, keys, item, item.band, item.score)
        if item.tries then count(batch, 'retrying', -1) end
      end
      if item.is_over then
        finish(item)
      elseif letter == 'c' then
        write_ended(batch, item, 'cancelled', 86400000, string.match(item.run.cancel, '^[^@]*'))
        shorten_kept(item, 86400000, true)
      elseif item.verb == 'complete_kept' then
        complete(batch, item, unpack(takes))
        shorten_completed(item, takes[2])
      elseif item.verb == 'complete' or item.verb == 'complete_briefly' then
        complete(batch, item, unpack(takes))
        if item.meta and meta_field(item.meta, 'k') then shorten_completed(item, takes[4] or takes[2]) end
      elseif item.verb == 'fail' then
        fail(batch, item, unpack(takes))
        shorten_kept(item, takes[2])
      elseif item.verb == 'expire' and item.ran and has_begun(item) then
        item.meta = string.gsub(string.gsub('\n' .. (item.meta or ''), '\nx %d+', ''), '^\n', '')
        redis.call('HSET', keys.meta, item.id, item.meta)
        wait_again(batch, keys, item, 'released', '0', '')
        count(batch, 'released', 1)
      elseif item.verb == 'expire' then
        write_ended(batch, item, 'expired', takes[1], '-')
        shorten_kept(item, takes[1], true)
      elseif item.verb == 'move' then
        move(batch, item, unpack(takes))
        shorten_kept(item, takes[1], true)
      elseif item.verb == 'withhold' then
        withhold(batch, keys, tag, item, takes[1], takes[2], conf[5])
        refund(batch, keys.rates, tag, item.meta and meta_field(item.meta, 'g'), conf[3])
      elseif item.verb == 'wait' then
        wait(batch, keys, item, unpack(takes))
      else
        wait_again(batch, keys, item, PAST[item.verb], unpack(takes))
      end
      if letter == 's' and item.verb ~= 'expire' and item.verb ~= 'move' then
        count(batch, PAST[item.verb] or (item.verb == 'fail' and 'failed' or 'completed'), 1)
      end
    elseif letter == 'l' and item.guard ~= 'waiting' and item.guard ~= 'doomed' then
      count(batch, 'lost', 1)
    end
  end
  outcomes = table.concat(letters)
end
if batch.run_us then count(batch, 'run_us', batch.run_us) end
-- A slot is free again in a queue that may have been full.
if conf[3] and #batch.over > 0 then batch.woken = true end
flush(batch, keys, tag)

return answer(outcomes, #batch.watched, batch.skipped)
