-- drop_steps: delete some of the records of an ended job's steps.
--
-- KEYS    1 steps:<id>  hash    step → encoded result
-- READS   job:<id>      string  envelope
--         runs          hash    id → run
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
--         3..* name     text    name of a record
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"dropped"} | {"open"}   open: the job was replayed
-- EMITS   -
-- COST    O(names)

local tag, id = ARGV[1], ARGV[2]

if redis.call('EXISTS', tag .. 'job:' .. id) == 1 or redis.call('HEXISTS', tag .. 'runs', id) == 1 then return {'open'} end

if #ARGV > 2 then redis.call('HDEL', KEYS[1], unpack(ARGV, 3)) end

return {'dropped'}
