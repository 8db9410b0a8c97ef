-- unblock: notify dependants of the ending of one parent each; a job without open parents is due.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 wake        zset    marker on which idle children block
--         6 grouped     zset    waiting jobs of groups
--         7 gdue        zset    groups by the time of the next check of their turn (µs)
--         8 journal     stream  lifecycle events
--         9 totals      hash    counts
--         10 meta       hash    id → clear record
--         11..* parents:<id> hash job:<id> and parents:<id>, two keys per item, which is a dependant
-- READS   conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms that the parents are remembered after the job is due
--         3..* ending   text    per ending: parent, status (gone: it is unknown) and proof, record, number of items and each item
-- FLAGS   allow-oom
-- RETURNS {"unblocked", now, letters}   u unblocked, b still blocked, or behind others of its
--         sequence, d already notified, x must be cancelled, and w waits for replay, g no dependant
-- EMITS   unblocked
-- COST    O(items · log ready), and O(parents) for the first failure of a flow
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/waiting/bounds
-- @include lib/group/stand_with

-- An item notifies a dependant of an ending. A dependant is the number of its keys, from 1.
local KEYS, ARGV, sub = KEYS, ARGV, string.sub  -- locals are faster in a loop
local tag, ttl = ARGV[1], ARGV[2]
local now = now_us()

-- The endings of a parent after which a dependant runs, by policy. Callbacks have a ~ in front, for which revisions that
-- do not know them change nothing: s of on_success, f of on_failure.
local completed = {completed = true}
local RUNS = {c = completed, w = completed, ['~s'] = completed, ['~f'] = {failed = true, expired = true}}
RUNS['~u'] = {failed = true, expired = true, cancelled = true, gone = true}  -- undoes the steps of the parent
RUNS['~a'] = RUNS['~f']  -- of a flow: the first of its jobs that fails is enough, and the others are forgotten

local ids, jobs, begin = {}, {}, #tag + 5  -- an id starts after the tag and "job:"
for c = 1, (#KEYS - 10) / 2 do
  local key = KEYS[9 + 2 * c]
  ids[c], jobs[c] = sub(key, begin), key
end

-- What is read of a dependant is read once, however many of its parents have ended.
local child_of, ending_of, column_of, asked, statuses, count, at = {}, {}, {}, {}, {}, 0, 3
while ARGV[at] do
  local stop = at + 3 + ARGV[at + 3]
  statuses[at] = string.match(ARGV[at + 1], '^%a*')
  for n = at + 4, stop do
    local c = tonumber(ARGV[n])
    local fields = asked[c]
    if fields then
      fields[#fields + 1] = ARGV[at]
    else
      fields = {':open', ':when', ARGV[at]}
      asked[c] = fields
    end
    count = count + 1
    child_of[count], ending_of[count], column_of[count] = c, at, #fields
  end
  at = stop + 1
end

-- Most jobs are of NORMAL priority.
local bands, others = {}, {}
local dues = redis.call('ZMSCORE', KEYS[3], unpack(ids))
for c = 1, #ids do
  if is_blocked(dues[c]) then bands[c] = 2 else others[#others + 1] = c end
end
if #others > 0 then
  local names = {}
  for n = 1, #others do names[n] = ids[others[n]] end
  for _, band in ipairs({0, 1, 3}) do
    dues = redis.call('ZMSCORE', KEYS[band + 1], unpack(names))
    for n = 1, #others do
      if is_blocked(dues[n]) then bands[others[n]] = band end
    end
  end
end
local all_there = redis.call('EXISTS', unpack(jobs)) == #jobs
local states, open = {}, {}
for c = 1, #ids do
  local state = redis.call('HMGET', KEYS[10 + 2 * c], unpack(asked[c]))
  states[c], open[c] = state, tonumber(state[1] or '1') or 1
  if bands[c] and not all_there and redis.call('EXISTS', jobs[c]) == 0 then bands[c] = nil end
end

local letters, writes, recorded, dropped, has_first = {}, {}, {}, {}, {}
for i = 1, count do
  local c, from = child_of[i], ending_of[i]
  local value, parent, status = states[c][column_of[i]], ARGV[from], statuses[from]
  if not value or not bands[c] or has_first[c] then
    letters[i] = 'g'
  elseif byte(value) ~= 63 or recorded[c] and recorded[c][parent] then  -- no question mark in front
    letters[i] = 'd'
  else
    local is_callback = byte(value, 2) == 126  -- ~
    local policy, place = sub(value, 2, is_callback and 3 or 2), sub(value, is_callback and 5 or 4)
    local is_any = policy == '~a'
    local is_dropped = is_any and not RUNS[policy][status] and open[c] > 1
    if policy == 'r' or is_dropped or RUNS[policy] and RUNS[policy][status] then
      open[c] = (is_any and not is_dropped) and 0 or open[c] - 1
      letters[i] = open[c] == 0 and 'u' or 'b'
      local write = writes[c]
      if not write then
        write = {':open', 0}
        writes[c] = write
      end
      local n = #write
      write[2] = open[c]
      if is_dropped then
        dropped[c] = dropped[c] or {}
        dropped[c][#dropped[c] + 1] = parent
      else
        write[n + 1], write[n + 2] = parent, place .. ' ' .. ARGV[from + 1] .. '\n' .. ARGV[from + 2]
      end
      has_first[c] = is_any and not is_dropped
      if asked[c][4] then  -- several endings
        recorded[c] = recorded[c] or {}
        recorded[c][parent] = true
      end
    else
      letters[i] = (policy == 'w' and status ~= 'gone' or policy == '~s' and status == 'failed') and 'w' or 'x'
    end
  end
end
local has_meta = redis.call('EXISTS', KEYS[10]) == 1
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)

local events, woken, ready, grouped = {}, false, {{}, {}, {}, {}}, {}

local function due_of(c)
  local when = states[c][2] or ''
  if when == '' then return now end
  local delay = string.match(when, '^%+(%d+)$')
  return delay and now + tonumber(delay) or tonumber(when) or now
end

-- A reader finds the endings of the parents until the job is due, however late that is. Of a job that had a guard and no
-- parents, such as the first of a flow, there is nothing to read.
local function keep_for(c, due)
  local key, write = KEYS[10 + 2 * c], writes[c]
  local has_none = #write == 4 and write[3] == ':guard' and redis.call('HLEN', key) <= 3
  if has_first[c] then redis.call('DEL', key) end
  redis.call('HSET', key, unpack(write))
  redis.call('PEXPIRE', key, has_none and 60000 or int(tonumber(ttl) + math.max(0, due - now) / 1000))
  writes[c] = nil
end

local function unblocked(c, due)
  if heard or conf[2] then events[#events + 1] = {'unblocked', ids[c], '0', 0, words = int(due)} end
  woken = woken or due <= now
end

-- The record is written before the dependant is due: a script that ends halfway must not leave a job that nothing makes
-- due. Of a dependant without a clear record, all keys were read above, so no write ends the script.
for i = 1, count do
  if letters[i] == 'u' then
    local c = child_of[i]
    local meta = has_meta and redis.call('HGET', KEYS[10], ids[c]) or ''
    if meta == '' then
      local due, standing = due_of(c), ready[bands[c] + 1]
      keep_for(c, due)
      local n = #standing
      standing[n + 1], standing[n + 2] = int(due), ids[c]
      unblocked(c, due)
    else
      grouped[#grouped + 1] = {i, meta}
    end
  end
end
for band = 1, 4 do
  if ready[band][1] then redis.call('ZADD', KEYS[band], unpack(ready[band])) end
end
local lane = {grouped = KEYS[6], gdue = KEYS[7], meta = KEYS[10], tag = tag, now = now}
for n = 1, #grouped do
  local i, meta = grouped[n][1], grouped[n][2]
  local c = child_of[i]
  local due = due_of(c)
  keep_for(c, due)
  local is_free = stand_with(KEYS[bands[c] + 1], lane, meta, bands[c], due, ids[c])
  if is_free then unblocked(c, due) else letters[i] = 'b' end
end
for c = 1, #ids do
  if writes[c] then
    if dropped[c] then redis.call('HDEL', KEYS[10 + 2 * c], unpack(dropped[c])) end
    redis.call('HSET', KEYS[10 + 2 * c], unpack(writes[c]))
  end
end
if woken and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end

if conf[2] then write_journal(KEYS[8], KEYS[9], conf[2], events, int(now)) end
if heard then emit(tag, now, events) end
return {'unblocked', int(now), table.concat(letters)}
