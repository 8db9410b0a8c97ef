-- unwatch_many: record that dependants of some jobs were notified of an ending each, as unwatch does for one job.
--
-- KEYS    1 outbox      stream  endings of jobs with dependants
--         2..* dependants:<id> zset dependants:<id>, result:<id>, two keys per item
-- ARGV    1..* item     text    three per item: its record in outbox, ms of that ending, dependants and what remains
-- FLAGS   allow-oom
-- RETURNS {"unwatched", {left, …}}   of each, the number of dependants that are still to be notified
-- EMITS   -
-- COST    O(items + children · log n)

-- After the id of each dependant are a space, 1 if it waits for a replay, 2 if it will read the record, else 0, and a space.
local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local count = #ARGV / 3
local DAY = 86400000
local left, done, keys, waited, read = {}, {}, {}, {}, {}
for i = 1, count do
  local key, ending, dependants = KEYS[2 * i], ARGV[3 * i - 1], ARGV[3 * i]
  keys[i] = key
  local alone = string.match(dependants, '^(%S+) 0 $')
  if alone then
    redis.call('ZREM', key, alone)
  else
    local gone, stays = {}, {}
    for child, rest in string.gmatch(dependants, '(%S+) (%d) ') do
      if rest == '1' or rest == '2' and redis.call('PTTL', KEYS[1 + 2 * i]) > 0 then
        waited[i], read[i] = waited[i] or rest == '1', read[i] or rest == '2'
        stays[#stays + 1] = ending
        stays[#stays + 1] = child
      else
        gone[#gone + 1] = child
      end
    end
    if #stays > 0 then redis.call('ZADD', key, unpack(stays)) end
    if #gone > 0 then redis.call('ZREM', key, unpack(gone)) end
  end
end
local any = count > 0 and redis.call('EXISTS', unpack(keys)) > 0  -- mostly none has a dependant any more
for i = 1, count do
  left[i] = any and redis.call('ZCOUNT', keys[i], '-inf', '(' .. ARGV[3 * i - 1]) or 0
  if left[i] == 0 then done[#done + 1] = ARGV[3 * i - 2] end
  -- As in unwatch: how long those stay that read the record, or wait for a replay.
  if left[i] == 0 and (waited[i] or read[i]) then
    local ttl = redis.call('PTTL', KEYS[1 + 2 * i])
    redis.call('PEXPIRE', keys[i], waited[i] and math.max(ttl, DAY) or ttl)
  end
end
if #done > 0 then redis.call('XDEL', KEYS[1], unpack(done)) end

return {'unwatched', left}
