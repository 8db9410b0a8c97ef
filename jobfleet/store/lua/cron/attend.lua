-- attend: announce a process that fires recurring jobs, or that relays an outbox. A worker fires only if no reaper does.
--
-- KEYS    1 cron-duty   zset    reaper:<id>, worker:<id> or relay:<id> by last announcement (µs)
--         2 cron        hash    entry → since (µs), fingerprint, record
-- ARGV    1 process     text    its id
--         2 role        text    reaper, worker, relay, or nobody: the process stops
--         3 gone        int     µs after which a silent process counts as gone
--         4 most        int     maximum number of workers that fire
--         5 wanted      int     1 if a worker may fire although there are no entries yet
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"attended", now, reapers, entries, fires}   fires: 1 if this process must fire, or relays
-- EMITS   -
-- COST    O(reapers + most)
-- @include lib/base/clock
-- @include lib/base/number

local process, role, gone, most, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local now = now_us()

redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', int(now - gone))
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. int(now + gone), '+inf') -- the clock was set back

local mine, reapers, workers = role .. ':' .. process, 0, 0
for _, one in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(one, 1, 7) == 'reaper:' then
    reapers = reapers + 1
  elseif string.sub(one, 1, 7) == 'worker:' and one ~= mine then
    workers = workers + 1
  end
end
local entries = redis.call('HLEN', KEYS[2])

local fires = 0
if role == 'reaper' or role == 'relay' then
  fires = 1
elseif role == 'worker' and reapers == 0 and workers < most and (entries > 0 or wanted == '1') then
  fires = 1
end

if fires == 1 then
  redis.call('ZADD', KEYS[1], int(now), mine)
  redis.call('PEXPIRE', KEYS[1], int(gone / 100))
else
  redis.call('ZREM', KEYS[1], 'reaper:' .. process, 'worker:' .. process, 'relay:' .. process)
end

return {'attended', int(now), reapers, entries, fires}
