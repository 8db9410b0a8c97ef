-- unwatch: those that wait for a job have been told of its ending; the last of them takes the record along.
--
-- KEYS    1 dependants:<id> zset who waits for it, by the last ending they were told of (ms)
--         2 outbox      stream  settled parents
-- ARGV    1 entry       text    the record in outbox
--         2 ending      int     ms of that ending
--         3..* child    text    two a child: id, and 1 where it goes on waiting for a replay, else 0
-- FLAGS   allow-oom
-- RETURNS {"unwatched", left}   how many are still to be told
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
