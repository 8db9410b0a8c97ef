-- runs: a page of a lane's leases by deadline, and among random runs those without a lease.
--
-- KEYS    1 lease       zset    running ids by lease deadline (µs)
-- READS   runs          hash    id → run
--         job:<id>      string  envelope
--         lane          hash    hold
-- ARGV    1 tag         text    the lane's prefix
--         2 skip        int     number of leases to skip
--         3 limit       int     1..25
-- FLAGS   no-writes
-- RETURNS {"runs", now, hold, leases, runs, {id, deadline, run, envelope}, …}   leases and runs: total numbers;
--         hold: time until which leases are not reaped; deadline: 0 without a lease; run: empty without a run;
--         envelope: whether it exists
-- EMITS   -
-- COST    O(skip + limit)
-- @include lib/base/clock
-- @include lib/base/number

local tag, skip, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local runs = tag .. 'runs'

local reply = {
  'runs', int(now_us()), redis.call('HGET', tag .. 'lane', 'hold') or '0',
  redis.call('ZCARD', KEYS[1]), redis.call('HLEN', runs),
}
local leases = redis.call('ZRANGE', KEYS[1], skip, skip + limit - 1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local run = redis.call('HGET', runs, leases[i]) or ''
  reply[#reply + 1] = {leases[i], leases[i + 1], run, redis.call('EXISTS', tag .. 'job:' .. leases[i])}
end
local drawn = redis.call('HRANDFIELD', runs, limit, 'WITHVALUES') or {}
for i = 1, #drawn, 2 do
  if not redis.call('ZSCORE', KEYS[1], drawn[i]) then
    reply[#reply + 1] = {drawn[i], '0', drawn[i + 1], redis.call('EXISTS', tag .. 'job:' .. drawn[i])}
  end
end
return reply
