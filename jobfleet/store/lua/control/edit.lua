-- edit: give a waiting job another call; everything else about it stays.
--
-- KEYS    1 job:<id>    string  envelope
--         2 journal     stream  lifecycle events
--         3 totals      hash    counts
--         4 meta        hash    id → clear record
-- READS   ready:0       zset    job ids by due time (µs), CRITICAL
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         runs          hash    id → run
--         tries         hash    id → tries
--         result:<id>   string  its ending
--         dead          hash    id → entry in dlq
--         conf          hash    journal
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3 who         text    requester; - if unknown
--         4 expected    bytes   the envelope that the new one was made from
--         5 envelope    bytes   the new envelope
--         6 changed     text    names of the arguments that differ, without spaces; empty if that is not known
-- FLAGS   -
-- GUARDS  deadline once
-- RETURNS {"edited", now} | {"changed"} | {"running"} | {"ended"} | {"unknown"}
--         changed: the job waits, and its envelope is not the expected one
-- EMITS   edited
-- COST    O(log n), and the size of the old envelope
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/score
-- @include lib/events/event
-- @include lib/events/journal
-- @include lib/job/life

local tag, id, who, expected, envelope, changed = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local now = now_us()

local band, score
for number = 0, 3 do
  local found = redis.call('ZSCORE', tag .. 'ready:' .. number, id)
  if found then band, score = number, found end
end
if not band then
  if redis.call('HEXISTS', tag .. 'runs', id) == 1 then return {'running'} end
  local has_ended = redis.call('EXISTS', tag .. 'result:' .. id) == 1 or redis.call('HEXISTS', tag .. 'dead', id) == 1
  return {has_ended and 'ended' or 'unknown'}
end
if (redis.call('GET', KEYS[1]) or '') ~= expected then return {'changed'} end
local journal = redis.call('HGET', tag .. 'conf', 'journal')
local heard = is_heard(tag)
local tries = redis.call('HGET', tag .. 'tries', id) or nil
local meta = with_event(redis.call('HGET', KEYS[4], id) or '', 'edited', int(now), who, changed)

redis.call('HSET', KEYS[4], id, meta)
redis.call('SET', KEYS[1], envelope)

local words = int(band) .. ' ' .. int(due_of_score(score)) .. ' ' .. who .. (changed == '' and '' or ' ' .. changed)
local events = {{'edited', id, '0', 0, words = words, envelope = envelope, tries = tries}}
if journal then write_journal(KEYS[2], KEYS[3], journal, events, int(now)) end
if heard then emit(tag, now, events) end
return {'edited', int(now)}
