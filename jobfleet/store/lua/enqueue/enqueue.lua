-- enqueue: put jobs into a lane, each once.
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
--         11 grouped    zset    waiting jobs of groups
--         12 gdue       zset    groups by the time of the next check of their turn (µs)
--         13 journal    stream  lifecycle events
--         14..* job:<id> string envelope, one key per item; after them, if there are any, indexes and each index of an item
-- READS   result:<id>   string  tombstone; how the holder of a key ended
--         job:<id>      string  whether the holder of a key is open
--         runs          hash    id → run
--         tries         hash    id → tries
--         steps:<id>    hash    whether the holder of a key has begun to wait, under @
--         conf          hash    paused, journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     text    five per item: id, band, when ("" now, "+µs" from now, "µs" at), meta (x +µs counts from now), envelope
-- FLAGS   -
-- GUARDS  deadline
-- RETURNS {"enqueued", now, letters}
--         {"enqueued", now, letters, {"id status", …}}   with the holders of unique keys, if any key is held
--         letters: c created, e exists, w held by another job, not started and waiting, h held otherwise
-- EMITS   enqueued
-- COST    O(items · log ready)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/due
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/group/group

local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop

-- Needed only for jobs with a unique key; created for the first of them, because creating functions takes time.
local function unique_keys(lane, at)
-- @include lib/job/unique
-- @include lib/job/holder
  local taken, locks, timed = {}, {}, {}

  -- Whether a key is free, as a letter, and its holder; reserves it for the jobs that follow.
  local function judged(id, key, meta, is_now)
    local lock = taken[key] or lock_on(KEYS[9], lane, key, at)
    if lock then
      if lock.id == id then return 'e' end
      local status, has_started = lock.status, false
      if not status then status, has_started = standing_of(lane, KEYS, lock.id, at) end
      return has_started and 'h' or 'w', lock.id .. ' ' .. status
    end
    taken[key] = {id = id, status = is_now and 'queued' or 'scheduled'}
    local value, till = lock_for(id, meta_field(meta, 's'), at)
    locks[#locks + 1] = key
    locks[#locks + 1] = value
    if till > 0 then
      timed[#timed + 1] = int(till)
      timed[#timed + 1] = key
    end
    return 'c'
  end

  local over, free
  local function look()
    if #timed > 0 then over, free = stale_locks(KEYS[9], KEYS[10], at, #timed) end  -- removes two per new one
  end

  local function write()
    if over then
      drop_locks(KEYS[9], KEYS[10], over, free)
      redis.call('ZADD', KEYS[10], unpack(timed))
    end
    if #locks > 0 then redis.call('HSET', KEYS[9], unpack(locks)) end
  end

  return {judged = judged, look = look, write = write}
end

-- Needed only for jobs with tags or free texts such as a user.
local function index_keys()
-- @include lib/job/index
  local found = {}
  return {
    take = function(meta, id, at, due) return take_indexes(found, meta, id, at, due) end,
    write = function(lane, at) write_indexes(found, lane, at) end,
  }
end

-- Needed only for jobs of strict sequences.
local function place_keys(at)
-- @include lib/group/sequence
  return new_places(KEYS[11], at)
end

local tag = ARGV[1]
local now = now_us()
local stamp = int(now)

local items = (#ARGV - 1) / 5
local places = {tag .. 'conf', tag .. 'listeners'}
for i = 1, items do
  places[2 * i + 1] = KEYS[13 + i]
  places[2 * i + 2] = tag .. 'result:' .. ARGV[5 * i - 3]
end
-- One command reads everything that is usually absent: settings, listeners, jobs and tombstones of these ids.
local known = redis.call('EXISTS', unpack(places)) > 0
local conf = known and redis.call('HMGET', places[1], 'paused', 'journal') or {}
local heard = known and is_heard(tag)

local ready, envelopes, metas, expiring, events, letters, seen = {}, {}, {}, {}, {}, {}, {}
local due_now, fresh, indexes = false, 0, nil
local keyed, holders, grouped, places_of

for i = 1, items do
  local at = 5 * i - 3
  local id, meta = ARGV[at], ARGV[at + 3]
  local due, is_now = due_of(ARGV[at + 2], now, stamp)
  local letter, holder = 'c'
  local is_short = meta == '' or is_group_only(meta)
  if seen[id] or (known and redis.call('EXISTS', places[2 * i + 1], places[2 * i + 2]) > 0) then
    letter = 'e'
  elseif not is_short then
    local key = meta_field(meta, 'u')
    if key then
      keyed = keyed or unique_keys(tag, now)
      letter, holder = keyed.judged(id, key, meta, is_now)
      if holder then
        holders = holders or {}
        holders[#holders + 1] = holder
      end
    end
  end
  letters[i] = letter
  if letter == 'c' then
    seen[id] = true
    fresh = fresh + 1
    local band = ready[ARGV[at + 1] + 1]
    if not band then
      band = {}
      ready[ARGV[at + 1] + 1] = band
    end
    if heard or conf[2] then
      events[fresh] = {'enqueued', id, '0', 0, words = ARGV[at + 1] .. ' ' .. due, envelope = ARGV[at + 4]}
    end
    if not is_short and find(meta, 'i ', 1, true) then
      indexes = indexes or index_keys()
      meta = indexes.take(meta, id, now + i, due)
    end
    local group, is_head
    if meta ~= '' then
      if is_short then group = string.sub(meta, 3) else group = meta_field(meta, 'g') end
    end
    if group then
      grouped = grouped or new_groups({grouped = KEYS[11], gdue = KEYS[12]})
      local due_at = due == stamp and now or tonumber(due)
      if not is_short and find(meta, '\no ', 1, true) then
        places_of = places_of or place_keys(now)
        meta, is_head = places_of.join(group, meta, id, due_at)
      end
      if is_head == false then  -- it waits behind others of its sequence
        due, is_now = int(BLOCKED), false
        if events[fresh] then events[fresh].words = ARGV[at + 1] .. ' ' .. due end
      else
        due = grouped.waits(group, ARGV[at + 1], due_at, id)
      end
    end
    due_now = due_now or is_now
    local place = #band + 1
    band[place], band[place + 1] = due, id
    envelopes[2 * fresh - 1] = KEYS[13 + i]
    envelopes[2 * fresh] = ARGV[at + 4]
    if meta ~= '' then
      local last = #metas + 1
      metas[last], metas[last + 1] = id, is_short and meta or dated(meta, now)
      local expires = not is_short and meta_field(metas[last + 1], 'x')
      if expires then
        expiring[#expiring + 1] = expires
        expiring[#expiring + 1] = id
      end
    end
  end
end

if keyed then keyed.look() end

if fresh > 0 then
  -- Locks and envelopes come last: a job that has either counts as enqueued, and must be complete (docs/adr/0012).
  for band = 1, 4 do
    if ready[band] then redis.call('ZADD', KEYS[band], unpack(ready[band])) end
  end
  if #metas > 2 then  -- create the functions only if they are needed
-- @include lib/base/wide
    set_many(KEYS[6], #metas / 2, unpack(metas))
  elseif #metas > 0 then
    redis.call('HSET', KEYS[6], unpack(metas))
  end
  if #expiring > 0 then redis.call('ZADD', KEYS[7], unpack(expiring)) end
  if grouped then grouped.write() end
  if places_of then places_of.write() end
  if indexes then indexes.write(tag, now) end
  if keyed then keyed.write() end
  redis.call('MSET', unpack(envelopes))
  redis.call('HINCRBY', KEYS[8], 'enqueued', fresh)
  if due_now and not conf[1] then redis.call('ZADD', KEYS[5], 0, 'w') end
end
if conf[2] then  -- create the functions only if they are needed
-- @include lib/events/journal
  write_journal(KEYS[13], KEYS[8], conf[2], events, stamp)
end

if heard then emit(tag, now, events) end
return {'enqueued', stamp, table.concat(letters), holders}
