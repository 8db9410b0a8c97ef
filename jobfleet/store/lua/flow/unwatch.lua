-- unwatch: record that dependants were notified of an ending; the last of them deletes the outbox record.
--
-- KEYS    1 dependants:<id> zset dependants by the last ending of which they were notified (ms)
--         2 outbox      stream  endings of jobs with dependants
-- ARGV    1 entry       text    the record in outbox
--         2 ending      int     ms of that ending
--         3..* child    text    two per child: id, and 1 if it continues to wait for a replay, else 0
-- FLAGS   allow-oom
-- RETURNS {"unwatched", left}   number of dependants that are still to be notified
-- EMITS   -
-- COST    O(children · log n)

for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '1' then
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
local left = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
if left == 0 then redis.call('XDEL', KEYS[2], ARGV[1]) end

return {'unwatched', left}
