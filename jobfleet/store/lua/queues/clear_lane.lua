-- clear_lane: delete the permanent data of an idle lane; if jobs are open, nothing.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 lease       zset    running ids by lease deadline (µs)
--         6 outbox      stream  endings of jobs with dependants
--         7 dlq         stream  dead letters
--         8 dead        hash    id → entry in dlq
--         9 done        stream  finished jobs
--         10 totals     hash    counts
--         11 conf       hash    operator's settings
--         12 lane       hash    token, seen
--         13 journal    stream  lifecycle events
--         14 fired      hash    cron entry → last handled fire, and its job
--         15 unique     hash    key → lock
--         16 locks      zset    keys held for a time, by its end (µs)
--         17 indexes    zset    index → time of its next cleaning (µs)
--         18 rates      zset    groups by the time at which their tokens are full again (µs)
--         19 gdue       zset    groups by the time of the next check of their turn (µs)
--         20 wake       zset    marker on which idle children block
--         21 filed      zset    names with the entries and ids of their letters
--         22 filing     hash    id → what is filed of its letter; mark
-- ARGV    1 drops       int     1 to delete dead letters too; otherwise they prevent it
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"cleared", letters} | {"open", waiting, running, unrelayed, letters}   letters: number of dead letters
-- EMITS   -
-- COST    O(keys), those that are large by the server's own thread

local waiting = 0
for band = 1, 4 do waiting = waiting + redis.call('ZCARD', KEYS[band]) end
local running, unrelayed, letters = redis.call('ZCARD', KEYS[5]), redis.call('XLEN', KEYS[6]), redis.call('XLEN', KEYS[7])
if waiting + running + unrelayed > 0 or (letters > 0 and ARGV[1] ~= '1') then
  return {'open', waiting, running, unrelayed, letters}
end

redis.call('UNLINK', unpack(KEYS))

return {'cleared', letters}
