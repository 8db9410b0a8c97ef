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
--         10..* parents:<id> hash job:<id> and parents:<id>, two keys per item
-- READS   meta          hash    id → clear record
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms that the parents are remembered from now on
--         3..* item     text    four per item: id, parent, status of the parent (gone: it is unknown), record
-- FLAGS   allow-oom
-- RETURNS {"unblocked", now, letters}   u unblocked, b still blocked, d already notified, x must be cancelled,
--         and w waits for replay, g no dependant
-- EMITS   unblocked
-- COST    O(items · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/waiting/bounds
-- @include lib/group/stand_with

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, ttl = ARGV[1], ARGV[2]
local now = now_us()

-- The endings of a parent after which a dependant runs, by policy. Callbacks have a ~ in front, for which revisions that
-- do not know them change nothing: s of on_success, f of on_failure.
local completed = {completed = true}
local RUNS = {c = completed, w = completed, ['~s'] = completed, ['~f'] = {failed = true, expired = true}}

local items, letters, open = {}, {}, {}
for i = 1, (#ARGV - 2) / 4 do
  local at = 4 * i - 1
  local item = {id = ARGV[at], parent = ARGV[at + 1], status = ARGV[at + 2], record = ARGV[at + 3], key = KEYS[9 + 2 * i]}
  items[i] = item
  local state = redis.call('HMGET', item.key, item.parent, ':open', ':when')
  for band = 0, 3 do
    local due = redis.call('ZSCORE', KEYS[band + 1], item.id)
    if is_blocked(due) then item.band = band end
  end
  local policy = state[1] and string.match(state[1], '^%?(~?%a)')
  item.place, item.when = state[1] and string.match(state[1], '^%?~?%a (%d+)') or '0', state[3] or ''
  if not state[1] or not item.band or redis.call('EXISTS', KEYS[8 + 2 * i]) == 0 then
    letters[i] = 'g'
  elseif not policy then
    letters[i] = 'd'
  elseif RUNS[policy] and RUNS[policy][item.status] or policy == 'r' then
    open[item.id] = (open[item.id] or tonumber(state[2] or '1') or 1) - 1
    letters[i] = open[item.id] == 0 and 'u' or 'b'
    item.meta = letters[i] == 'u' and redis.call('HGET', tag .. 'meta', item.id)
  else
    letters[i] = (policy == 'w' and item.status ~= 'gone' or policy == '~s' and item.status == 'failed') and 'w' or 'x'
  end
end
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'journal')
local heard = is_heard(tag)

local events, woken = {}, false
for i = 1, #items do
  local item = items[i]
  if letters[i] == 'u' or letters[i] == 'b' then
    redis.call('HSET', item.key, item.parent, item.place .. ' ' .. item.status .. '\n' .. item.record, ':open', open[item.id])
  end
  if letters[i] == 'u' then
    local delay = string.match(item.when, '^%+(%d+)$')
    local due = delay and now + tonumber(delay) or tonumber(item.when) or now
    stand_with(KEYS[item.band + 1], {grouped = KEYS[6], gdue = KEYS[7]}, item.meta or '', item.band, due, item.id)
    redis.call('PEXPIRE', item.key, ttl)
    woken = woken or due <= now
    if heard or conf[2] then events[#events + 1] = {'unblocked', item.id, '0', 0, words = int(due)} end
  end
end
if woken and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end

if conf[2] then write_journal(KEYS[8], KEYS[9], conf[2], events, int(now)) end
if heard then emit(tag, now, events) end
return {'unblocked', int(now), table.concat(letters)}
