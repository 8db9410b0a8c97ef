-- unwatch: record that dependants were notified of an ending; the last of them deletes the outbox record.
--
-- KEYS    1 dependants:<id> zset dependants by the last ending of which they were notified (ms)
--         2 outbox      stream  endings of jobs with dependants
--         3 result:<id> string  its ending
-- ARGV    1 entry       text    the record in outbox
--         2 ending      int     ms of that ending
--         3..* child    text    two per child: id, and 1 if it waits for a replay, 2 if it will read the record, else 0
-- FLAGS   allow-oom
-- RETURNS {"unwatched", left}   number of dependants that are still to be notified
-- EMITS   -
-- COST    O(children · log n)

local DAY = 86400000
local ttl, waits, reads = redis.call('PTTL', KEYS[3]), false, false
for i = 3, #ARGV, 2 do
  if ARGV[i + 1] == '1' or ARGV[i + 1] == '2' and ttl > 0 then
    waits, reads = waits or ARGV[i + 1] == '1', reads or ARGV[i + 1] == '2'
    redis.call('ZADD', KEYS[1], ARGV[2], ARGV[i])
  else
    redis.call('ZREM', KEYS[1], ARGV[i])
  end
end
local left = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[2])
if left == 0 then redis.call('XDEL', KEYS[2], ARGV[1]) end
-- Dependants that read the record stay as long as the record: while they are registered, `retire` leaves it. Those that wait
-- for a replay stay a day at least. If it comes later, the sweep of a relay registers them again.
if left == 0 and (waits or reads) then redis.call('PEXPIRE', KEYS[1], waits and math.max(ttl, DAY) or ttl) end

return {'unwatched', left}
