-- forget_steps: delete the results of a dead job's steps, so that a replay repeats them.
--
-- KEYS    1 steps:<id>  hash    step → encoded result
-- READS   dead          hash    id → entry in dlq
--         job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"forgotten"} | {"kept"}   kept: the job is not a dead letter, or is open again
-- EMITS   -
-- COST    O(1)

local tag, id = ARGV[1], ARGV[2]

if redis.call('HEXISTS', tag .. 'dead', id) == 0 or redis.call('EXISTS', tag .. 'job:' .. id) == 1 then return {'kept'} end

redis.call('UNLINK', KEYS[1])

return {'forgotten'}
