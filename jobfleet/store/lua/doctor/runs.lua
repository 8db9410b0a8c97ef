-- runs: a page of a lane's leases by deadline, and of as many runs, taken at random, those that have no lease.
--
-- KEYS    1 lease       zset    running ids by lease deadline (µs)
-- READS   runs          hash    id → run
--         job:<id>      string  envelope
--         lane          hash    hold
-- ARGV    1 tag         text    the lane's prefix
--         2 skip        int     how many leases to pass over
--         3 limit       int     1..25
-- FLAGS   no-writes
-- RETURNS {"runs", now, hold, leases, runs, {id, deadline, run, envelope}, …}   leases and runs: how many there are;
--         hold: until when leases are not judged; deadline: 0 where there is no lease; run: empty where there is none;
--         envelope: whether it is there
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
