-- drop_steps: delete some of the records of an ended job's steps.
--
-- KEYS    1 steps:<id>  hash    step → encoded result
-- READS   job:<id>      string  envelope
--         runs          hash    id → run
--         dead          hash    id → entry in dlq
--         result:<id>   string  its ending
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3..* name     text    name of a record
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"dropped"} | {"open"}   open: the job was replayed, or has not ended
-- EMITS   -
-- COST    O(names)
-- @include lib/job/keep_open

local tag, id = ARGV[1], ARGV[2]

if redis.call('EXISTS', tag .. 'job:' .. id) == 1 or redis.call('HEXISTS', tag .. 'runs', id) == 1 then return {'open'} end
-- A foreign client may have deleted the envelope of a job that waits. What an open job has kept has no end of its own
-- (lib/job/keep_open): whatever ends the job shortens it, unless it leaves a dead letter.
if redis.call('PTTL', KEYS[1]) > CENTURY / 2
  and redis.call('EXISTS', tag .. 'result:' .. id) == 0 and redis.call('HEXISTS', tag .. 'dead', id) == 0 then
  return {'open'}
end

if #ARGV > 2 then redis.call('HDEL', KEYS[1], unpack(ARGV, 3)) end
-- The total size alone, under the empty name, would stay for a month.
if redis.call('HLEN', KEYS[1]) == 1 and redis.call('HEXISTS', KEYS[1], '') == 1 then redis.call('UNLINK', KEYS[1]) end

return {'dropped'}
