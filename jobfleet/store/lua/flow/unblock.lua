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
--         11..* parents:<id> hash job:<id> and parents:<id>, two keys per item
-- READS   conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms that the parents are remembered after the job is due
--         3..* item     text    four per item: id, parent, status of the parent (gone: it is unknown), record
-- FLAGS   allow-oom
-- RETURNS {"unblocked", now, letters}   u unblocked, b still blocked, or behind others of its
--         sequence, d already notified, x must be cancelled, and w waits for replay, g no dependant
-- EMITS   unblocked
-- COST    O(items · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/waiting/bounds
-- @include lib/group/stand_with

local KEYS, ARGV, sub = KEYS, ARGV, string.sub  -- locals are faster in a loop
local tag, ttl = ARGV[1], ARGV[2]
local now = now_us()

-- The endings of a parent after which a dependant runs, by policy. Callbacks have a ~ in front, for which revisions that
-- do not know them change nothing: s of on_success, f of on_failure.
local completed = {completed = true}
local RUNS = {c = completed, w = completed, ['~s'] = completed, ['~f'] = {failed = true, expired = true}}
RUNS['~u'] = {failed = true, expired = true, cancelled = true, gone = true}  -- undoes the steps of the parent

-- What is read of a dependant is read once, however many of its parents have ended.
local count = (#ARGV - 2) / 4
local letters, children, child_of, column_of, ids, jobs = {}, {}, {}, {}, {}, {}
for i = 1, count do
  local at = 4 * i - 1
  local id = ARGV[at]
  local child = children[id]
  if not child then
    child = {
      id = id, key = KEYS[10 + 2 * i], job = KEYS[9 + 2 * i], asked = {':open', ':when'}, fields = {}, recorded = {}, open = 0,
      band = false, state = false,
    }
    children[id], ids[#ids + 1], jobs[#jobs + 1] = child, id, child.job
  end
  local asked = child.asked
  local place = #asked + 1
  asked[place], child_of[i], column_of[i] = ARGV[at + 1], child, place
end
for band = 0, 3 do
  local dues = redis.call('ZMSCORE', KEYS[band + 1], unpack(ids))
  for i = 1, #ids do
    if is_blocked(dues[i]) then children[ids[i]].band = band end
  end
end
local all_there = redis.call('EXISTS', unpack(jobs)) == #jobs
for i = 1, #ids do
  local child = children[ids[i]]
  child.state = redis.call('HMGET', child.key, unpack(child.asked))
  child.open = tonumber(child.state[1] or '1') or 1
  if child.band and not all_there and redis.call('EXISTS', child.job) == 0 then child.band = false end
end
for i = 1, count do
  local child, at = child_of[i], 4 * i - 1
  local value, parent, status = child.state[column_of[i]], ARGV[at + 1], ARGV[at + 2]
  if not value or not child.band then
    letters[i] = 'g'
  elseif byte(value) ~= 63 or child.recorded[parent] then  -- no question mark in front
    letters[i] = 'd'
  else
    local is_callback = byte(value, 2) == 126  -- ~
    local policy, place = sub(value, 2, is_callback and 3 or 2), sub(value, is_callback and 5 or 4)
    if policy == 'r' or RUNS[policy] and RUNS[policy][status] then
      child.open = child.open - 1
      letters[i] = child.open == 0 and 'u' or 'b'
      local fields = child.fields
      local n = #fields
      fields[n + 1], fields[n + 2], child.recorded[parent] = parent, place .. ' ' .. status .. '\n' .. ARGV[at + 3], true
    else
      letters[i] = (policy == 'w' and status ~= 'gone' or policy == '~s' and status == 'failed') and 'w' or 'x'
    end
  end
end
local has_meta = redis.call('EXISTS', KEYS[10]) == 1
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)

local events, woken = {}, false
local function record(child)
  if #child.fields > 0 then redis.call('HSET', child.key, ':open', child.open, unpack(child.fields)) end
  child.fields = {}
end

local lane = {grouped = KEYS[6], gdue = KEYS[7], meta = KEYS[10], tag = tag, now = now}
for i = 1, count do
  if letters[i] == 'u' then
    local child = child_of[i]
    record(child)  -- directly before it is due: a script that ends halfway must not leave a job that nothing makes due
    local when, due = child.state[2] or '', now
    if when ~= '' then
      local delay = string.match(when, '^%+(%d+)$')
      due = delay and now + tonumber(delay) or tonumber(when) or now
    end
    local meta = has_meta and redis.call('HGET', KEYS[10], child.id) or ''
    local is_free = stand_with(KEYS[child.band + 1], lane, meta, child.band, due, child.id)
    redis.call('PEXPIRE', child.key, int(tonumber(ttl) + math.max(0, due - now) / 1000))
    woken = woken or is_free and due <= now
    if not is_free then
      letters[i] = 'b'
    elseif heard or conf[2] then
      events[#events + 1] = {'unblocked', child.id, '0', 0, words = int(due)}
    end
  end
end
for i = 1, #ids do record(children[ids[i]]) end
if woken and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end

if conf[2] then write_journal(KEYS[8], KEYS[9], conf[2], events, int(now)) end
if heard then emit(tag, now, events) end
return {'unblocked', int(now), table.concat(letters)}
