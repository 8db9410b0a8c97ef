-- stop: record the stage of stopping of cancelled runs.
--
-- KEYS    1 runs        hash    id → run
--         2 journal     stream  lifecycle events
--         3 totals      hash    counts
-- READS   conf          hash    journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2..* item     text    four per item: id, token, n, stage; at most 50 items
-- FLAGS   allow-oom
-- RETURNS {"stopping", letters}   n recorded, d already at this stage or later, l lost, u no cancellation was requested
-- EMITS   stopping
-- COST    O(items)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/events/event
-- @include lib/events/journal

local RANKS = {asked = 1, raised = 2, terminated = 3, killed = 4, condemned = 5}
local tag = ARGV[1]
local now = now_us()

local items, ids = (#ARGV - 1) / 4, {}
for i = 1, items do ids[i] = ARGV[4 * i - 2] end
local runs = redis.call('HMGET', KEYS[1], unpack(ids))
local journal = redis.call('HGET', tag .. 'conf', 'journal')
local heard = is_heard(tag)

local letters, changed, latest, events = {}, {}, {}, {}
for i = 1, items do
  local id, token, stage = ids[i], ARGV[4 * i - 1], ARGV[4 * i + 1]
  local record = latest[id] or runs[i]
  local run = record and run_parts(record)
  if not run or run.token ~= token then
    letters[i] = 'l'
  elseif run.cancel == '' then
    letters[i] = 'u'
  else
    local _, _, reached = cancel_parts(run.cancel)
    if (RANKS[stage] or 0) <= (RANKS[reached] or 0) then
      letters[i] = 'd'
    else
      letters[i] = 'n'
      local bare = reached == '' and record .. '@' or string.sub(record, 1, -1 - #reached)
      latest[id] = bare .. stage
      changed[#changed + 1] = id
      changed[#changed + 1] = latest[id]
      events[#events + 1] = {'stopping', id, token, ARGV[4 * i], stage, words = ARGV[4 * i] .. ' ' .. stage}
    end
  end
end

if #changed > 0 then redis.call('HSET', KEYS[1], unpack(changed)) end
if journal then write_journal(KEYS[2], KEYS[3], journal, events, int(now)) end
if heard then emit(tag, now, events) end
return {'stopping', table.concat(letters)}
