-- note_rescue: count the outcomes of jobs of a rescue, stop it if too many failed, and end it when none is in flight.
--
-- KEYS    1 rescuing    zset    rescues that are not over, by their begin (µs)
--         2 rescue:<rescue> hash the rescue: state, plan, counts
--         3 rescue-jobs:<rescue> zset id and entry of its jobs in flight, by the last look (µs); 0 before the first one
-- ARGV    1 rescue      text    its id
--         2 wish        text    stop, undo, or empty
--         3 who         text    who wishes it; - if unknown
--         4..* job      text    two per job: id and entry; s in flight, or its outcome; at most 200
-- FLAGS   allow-oom
-- RETURNS {"noted-rescue", before, state, flying, outcomes} | {"unknown"}   outcomes: those that were counted now; one of
--         completed, failed, ended, left, undone, started
-- EMITS   -
-- COST    O(jobs · log n)
-- @include lib/base/clock
-- @include lib/base/number

local rescue, wish, who = ARGV[1], ARGV[2], ARGV[3]
local now = int(now_us())

local row = redis.call('HMGET', KEYS[2], 'state', 'stop_after', 'failed', 'is_read')
local before = row[1]
if not before then
  redis.call('ZREM', KEYS[1], rescue)
  return {'unknown'}
end
redis.call('ZCARD', KEYS[1])
local state, failed, counted = before, tonumber(row[3] or '0'), {}
local flying = redis.call('ZCARD', KEYS[3])

local function turn_to(fresh, why)
  state = fresh
  redis.call('HSET', KEYS[2], 'state', state, 'why', why, 'over', now)
  if who ~= '-' then redis.call('HSET', KEYS[2], 'ended_by', who) end
end

for i = 4, #ARGV, 2 do
  local job, outcome = ARGV[i], ARGV[i + 1]
  if outcome == 's' then
    redis.call('ZADD', KEYS[3], 'XX', now, job)
  elseif redis.call('ZREM', KEYS[3], job) == 1 then
    redis.call('HINCRBY', KEYS[2], outcome, 1)
    counted[#counted + 1] = outcome
    flying = flying - 1
    if outcome == 'failed' then failed = failed + 1 end
  end
end
if state == 'running' and (wish == 'stop' or wish == 'undo' and flying == 0) then turn_to('stopped', 'asked') end
if wish == 'undo' and flying > 0 and (state == 'running' or state == 'stopped') then turn_to('undoing', 'asked') end
if state == 'running' and failed >= tonumber(row[2] or '1') then turn_to('stopped', 'failures') end
if flying == 0 then
  if state == 'running' and row[4] == '1' then turn_to('completed', '') end
  if state == 'undoing' then turn_to('undone', 'asked') end
  if state ~= 'running' then redis.call('ZREM', KEYS[1], rescue) end
end

return {'noted-rescue', before, state, flying, counted}
