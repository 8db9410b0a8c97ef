-- block_many: enqueue blocked jobs without a clear record, each with its parents and the jobs that wait for it.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 totals      hash    counts
--         6 watched     hash    ids of jobs with dependants
--         7 journal     stream  lifecycle events
--         8..* job:<id> string  job:<id>, parents:<id>, dependants:<id>, three keys per item; no id twice
-- READS   conf          hash    journal
--         listeners     string  whether the events have a listener
--         result:<id>   string  tombstone
-- ARGV    1 tag         text    the lane's prefix
--         2 ttl         int     ms that the parents are remembered
--         3 shapes      int     number of shapes; items next to each other that wait alike share one
--         4..* item     text    the shapes, then the items
-- FLAGS   -
-- RETURNS {"blocked", now, letters}   c created, w waits already, e exists and does not wait: its dependants were
--         not registered
-- EMITS   enqueued
-- COST    O(items + parents + dependants)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/events/event
-- @include lib/events/journal

-- A shape is: band, due time, number of parents, number of dependants; then two arguments per parent: id, `?policy
-- place`, where a guard is the parent :guard; then two per dependant: 0, id. The due time, when the item is unblocked, is
-- "", "+µs" or "µs". An item is: number of its shape from 1, envelope.
local KEYS, ARGV, sub = KEYS, ARGV, string.sub  -- locals are faster in a loop
local tag, ttl = ARGV[1], ARGV[2]
local now, blocked = now_us(), int(BLOCKED)
local count, from = (#KEYS - 7) / 3, #tag + 5  -- an id starts after the tag and "job:"
local shapes, at = {}, 4
for n = 1, tonumber(ARGV[3]) do
  local first = at + 4
  local last = first + 2 * ARGV[at + 2] - 1
  local stop = last + 2 * ARGV[at + 3]
  -- What is written for an item: its parents, and its dependants.
  shapes[n] = {
    band = ARGV[at], first = first, last = last,
    block = {':when', ARGV[at + 1], ':open', ARGV[at + 2], unpack(ARGV, first, last)},
    watch = stop > last and {unpack(ARGV, last + 1, stop)},
  }
  at = stop + 1
end

local ids, asked, shape_of = {}, {}, {}
for i = 1, count do
  local n, key = 3 * i, KEYS[5 + 3 * i]
  local id = sub(key, from)
  ids[i], shape_of[i] = id, shapes[tonumber(ARGV[at + 2 * i - 2])]
  asked[n - 2], asked[n - 1], asked[n] = key, KEYS[6 + n], tag .. 'result:' .. id
end
local letters, stale = {}, {}
local is_new = redis.call('EXISTS', unpack(asked)) == 0
for i = 1, count do
  letters[i] = 'c'
  if not is_new then
    local is_there = redis.call('EXISTS', KEYS[5 + 3 * i]) == 1
    local waits = redis.call('EXISTS', KEYS[6 + 3 * i]) == 1
    if redis.call('EXISTS', tag .. 'result:' .. ids[i]) == 1 or is_there and not waits then
      letters[i] = 'e'
    elseif is_there then
      letters[i] = 'w'
    elseif waits then
      stale[#stale + 1] = KEYS[6 + 3 * i]  -- of a job that is gone
    end
  end
end
local heard, journal = is_heard(tag), redis.call('HGET', tag .. 'conf', 'journal')

-- Record the parents that a job which waits already does not have. A guard that it does not have is not set any more.
local function add_parents(key, first, last)
  local more = {}
  for n = first, last, 2 do
    if ARGV[n] ~= ':guard' and redis.call('HEXISTS', key, ARGV[n]) == 0 then
      more[#more + 1], more[#more + 2] = ARGV[n], ARGV[n + 1]
    end
  end
  if #more > 0 then
    redis.call('HSET', key, unpack(more))
    redis.call('HINCRBY', key, ':open', #more / 2)
  end
end

-- The envelopes come last: a job that has one counts as enqueued, and must be complete (docs/adr/0012).
if #stale > 0 then redis.call('UNLINK', unpack(stale)) end
local standing, envelopes, watched, events = {{}, {}, {}, {}}, {}, {}, {}
for i = 1, count do
  if letters[i] == 'c' then
    local band, n = standing[shape_of[i].band + 1], #envelopes
    local place = #band
    band[place + 1], band[place + 2] = blocked, ids[i]
    envelopes[n + 1], envelopes[n + 2] = KEYS[5 + 3 * i], ARGV[at + 2 * i - 1]
  end
end
for band = 1, 4 do
  if #standing[band] > 0 then redis.call('ZADD', KEYS[band], unpack(standing[band])) end
end
for i = 1, count do
  if letters[i] ~= 'e' then
    local key, shape = KEYS[6 + 3 * i], shape_of[i]
    if letters[i] == 'c' then
      redis.call('HSET', key, unpack(shape.block))
    else
      add_parents(key, shape.first, shape.last)
    end
    redis.call('PEXPIRE', key, ttl)
    if shape.watch then
      redis.call('ZADD', KEYS[7 + 3 * i], 'NX', unpack(shape.watch))
      watched[#watched + 1] = ids[i]
      watched[#watched + 1] = 1
    end
    if (heard or journal) and letters[i] == 'c' then
      events[#events + 1] = {
        'enqueued', ids[i], '0', 0, words = shape.band .. ' ' .. blocked, envelope = ARGV[at + 2 * i - 1],
      }
    end
  end
end
if #watched > 0 then redis.call('HSET', KEYS[6], unpack(watched)) end
if #envelopes > 0 then
  redis.call('MSET', unpack(envelopes))
  redis.call('HINCRBY', KEYS[5], 'enqueued', #envelopes / 2)
end

if journal then write_journal(KEYS[7], KEYS[5], journal, events, int(now)) end
if heard then emit(tag, now, events) end
return {'blocked', int(now), table.concat(letters)}
