-- counts: the numbers of jobs in a lane.
--
-- KEYS    1 lane        hash    names the slot
-- READS   ready:0       zset    job ids by due time (µs)
--         ready:1       zset    HIGH
--         ready:2       zset    NORMAL
--         ready:3       zset    LOW
--         lease         zset    running ids
--         dlq           stream  dead letters
--         conf          hash    paused, functions, durability
--         totals        hash    counts
--         expiry        zset    waiting ids by expires_at
--         outbox        stream  endings of jobs with dependants
-- ARGV    1 tag         text    the lane's prefix
-- FLAGS   no-writes
-- RETURNS {"counts", now, {due, …}, {later, …}, {blocked, …}, running, dead, oldest, paused, {name, count, …},
--         expiring, outbox, unrelayed, functions, durability}
--         due, later and blocked: one per band; oldest: due time of the longest waiting job, 0 for none;
--         withheld jobs of paused functions count as due, but not for the oldest;
--         unrelayed: the id of the oldest record of the outbox
-- EMITS   -
-- COST    O(log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/waiting/score

local tag = ARGV[1]
local now = now_us()
local stamp, grouped_now = int(now), grouped_score(now)

local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'functions', 'durability')

local due, later, blocked, oldest = {}, {}, {}, 0
for band = 0, 3 do
  local key = tag .. 'ready:' .. band
  local withheld = conf[2] and redis.call('ZCOUNT', key, int(WITHHELD), '(' .. int(BLOCKED)) or 0
  due[band + 1] = redis.call('ZCOUNT', key, FIRST_PLAIN, stamp) + redis.call('ZCOUNT', key, '-inf', grouped_now) + withheld
  blocked[band + 1] = redis.call('ZCOUNT', key, int(BLOCKED), '+inf')
  later[band + 1] = redis.call('ZCARD', key) - due[band + 1] - blocked[band + 1]
  local first = redis.call('ZRANGEBYSCORE', key, FIRST_PLAIN, stamp, 'WITHSCORES', 'LIMIT', 0, 1)
  local of_group = redis.call('ZRANGEBYSCORE', key, '-inf', grouped_now, 'WITHSCORES', 'LIMIT', 0, 1)
  if first[2] and (oldest == 0 or tonumber(first[2]) < oldest) then oldest = tonumber(first[2]) end
  if of_group[2] and (oldest == 0 or ungrouped(of_group[2]) < oldest) then oldest = ungrouped(of_group[2]) end
end
local running = redis.call('ZCARD', tag .. 'lease')
local dead = redis.call('XLEN', tag .. 'dlq')
local totals = redis.call('HGETALL', tag .. 'totals')
local expiring = redis.call('ZCARD', tag .. 'expiry')
local outbox = redis.call('XLEN', tag .. 'outbox')
local first = outbox > 0 and redis.call('XRANGE', tag .. 'outbox', '-', '+', 'COUNT', 1)
local unrelayed = first and first[1] and first[1][1] or ''

local reply = {'counts', stamp, due, later, blocked, running, dead, int(oldest), conf[1] or '', totals}
reply[11], reply[12], reply[13], reply[14] = expiring, outbox, unrelayed, conf[2] or ''
reply[15] = conf[3] or ''
return reply
