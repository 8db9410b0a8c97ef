-- tick: a lane's housekeeping. It returns expired leases; the caller decides and settles.
--
-- KEYS    1 lane        hash    seen, hold, longest, ahead
--         2 wake        zset    marker on which idle children block
--         3 lease       zset    running ids by lease deadline (µs)
--         4 gdue        zset    groups by the time of the next check of their turn (µs)
--         5 rates       zset    groups by the time at which their tokens are full again (µs)
--         6 ready:0     zset    job ids by due time (µs), CRITICAL
--         7 ready:1     zset    HIGH
--         8 ready:2     zset    NORMAL
--         9 ready:3     zset    LOW
--         10 grouped    zset    waiting jobs of groups
--         11 held       zset    running jobs of groups
-- READS   runs          hash    id → run
--         tries         hash    id → tries
--         meta          hash    id → clear record
--         expiry        zset    ids by expires_at (µs)
--         conf          hash    paused, limits, functions
--         ring          zset    groups by their turn
--         job:<id>      string  envelope
--         watched       hash    ids of jobs with dependants
--         outbox        stream  endings of jobs with dependants
-- ARGV    1 tag         text    the lane's prefix
--         2 limit       int     1..50
-- FLAGS   allow-oom
-- RETURNS {"ticked", now, next_due, hold, {{id, token, run, envelope, tries, meta}, …}, {id, …}, functions,
--         watched, outbox, {group, head, id, envelope, tries, …}, {key, …}}
--         next_due and hold are 0 for none; expired leases, with an empty run and token 0 if there is no run;
--         waiting jobs past their expiry; paused functions, one line each; number of jobs with dependants; number of
--         endings of which dependants are still to be notified; of a sequence whose head has failed, the jobs that fail
--         because of it, with the name of its group and the head; keys of which a member had another score than 0
-- EMITS   -
-- COST    O(limit · log n)
-- @include lib/base/clock
-- @include lib/base/number
-- @include lib/job/run
-- @include lib/base/gap
-- @include lib/waiting/score
-- @include lib/base/meta
-- @include lib/waiting/ready
-- @include lib/waiting/any_due
-- @include lib/job/records
-- @include lib/group/level
-- @include lib/group/limit
-- @include lib/group/rested

local tag, limit = ARGV[1], tonumber(ARGV[2])
local now = now_us()
local stamp = int(now)

-- A number of the lane, as far as it is valid; this script corrects invalid ones (docs/adr/0012).
local function bounded(text, most)
  return math.max(0, math.min(most, tonumber(text or '0') or 0))
end

local state = redis.call('HMGET', KEYS[1], 'seen', 'hold', 'longest', 'ahead')
local seen, longest = bounded(state[1], 9e15), bounded(state[3], 864000000000)
local hold = bounded(state[2], now + longest)
local leased = redis.call('ZCARD', KEYS[3])
local jumped = now < seen or now - seen > gap_allowed(longest)
local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'limit', 'functions')
local freed = rested(tag, KEYS[5], now, 10)
local claimable = not conf[1] and (#freed > 0 or any_due(tag, now))
if claimable and conf[2] then
  claimable = room_of(limits_of(conf[2]), leased, redis.call('ZSCORE', KEYS[5], ''), now).most > 0
end
local levelled = {}
for i = 10, 11 do
  level(KEYS[i])
  if redis.call('ZREM', KEYS[i], LEVELLED) == 1 then levelled[#levelled + 1] = KEYS[i] end
end
local watched, unrelayed = redis.call('HLEN', tag .. 'watched'), redis.call('XLEN', tag .. 'outbox')
-- Behind a failed head, the rest of a sequence may have to fail too (lib/group/sequence).
local failing = redis.call('ZRANGEBYLEX', tag .. 'grouped', '[f', '(g', 'LIMIT', 0, 10)
local doomed = {}
if #failing > 0 then
-- @include lib/group/doomed
  for i = 1, #failing do  -- a foreign entry, or one without jobs, must not stop the others
    if not doomed[3] then doomed = doomed_by(tag, failing[i], limit) end
  end
end
local idle = redis.call('ZCOUNT', KEYS[5], '-inf', stamp)
local due = next_due(tag, int(now), true)
local expired = redis.call('ZRANGEBYSCORE', tag .. 'expiry', '-inf', stamp, 'LIMIT', 0, limit)
-- The clock has stepped back: jobs up to `ahead` were due before. Jobs may also have come after the last tick.
local ahead, drawn = tonumber(state[4] or '0'), nil
if now < seen then ahead = math.max(ahead, seen + gap_allowed(longest)) end
if ahead > now then
-- @include lib/waiting/stepped
  local keys = {ready = {KEYS[6], KEYS[7], KEYS[8], KEYS[9]}, grouped = KEYS[10], gdue = KEYS[4], rates = KEYS[5]}
  drawn = draw_in(keys, tag, now, ahead)
  if drawn.any and not conf[1] then claimable = true end
  if drawn.more then due = now + 1 end
end
-- A run whose lease was deleted gets a new one, otherwise nobody would ever find it.
local bare = {}
if redis.call('HLEN', tag .. 'runs') > leased then
  local met = redis.call('HRANDFIELD', tag .. 'runs', limit, 'WITHVALUES')
  for i = 1, #met, 2 do
    if not redis.call('ZSCORE', KEYS[3], met[i]) then
      local lease = math.min(run_parts(met[i + 1]).lease, 864000000000)
      longest = math.max(longest, lease)
      bare[#bare + 1], bare[#bare + 2] = int(now + lease), met[i]
    end
  end
end
-- If the longest lease is unknown, none counts as too far ahead.
local farthest = int(now + 2 * longest)
local beyond = leased > 0 and longest > 0
  and redis.call('ZRANGEBYSCORE', KEYS[3], '(' .. farthest, '+inf', 'LIMIT', 0, limit) or {}

if leased == 0 and #bare == 0 then
  hold, longest = 0, 0
elseif jumped then
  hold = now + longest / 2
elseif hold <= now then
  hold = 0
end

local ids, runs = {}, {}
if hold == 0 and leased > 0 then
  ids = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', stamp, 'LIMIT', 0, limit)
  if #ids > 0 then runs = redis.call('HMGET', tag .. 'runs', unpack(ids)) end
end
local records = read_records(tag, ids, runs)

redis.call('HSET', KEYS[1], 'seen', stamp, 'hold', int(hold), 'longest', int(longest))
if #bare > 0 then redis.call('ZADD', KEYS[3], unpack(bare)) end
for i = 1, #beyond do redis.call('ZADD', KEYS[3], farthest, beyond[i]) end
if drawn then drawn.write() end
if drawn and drawn.more then
  redis.call('HSET', KEYS[1], 'ahead', int(ahead))
elseif state[4] then
  redis.call('HDEL', KEYS[1], 'ahead')
end
if idle > 0 then redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', stamp) end
for i = 1, #freed do redis.call('ZADD', KEYS[4], 'LT', stamp, freed[i]) end
if claimable then redis.call('ZADD', KEYS[2], 0, 'w') end

return {'ticked', stamp, int(due), int(hold), records, expired, conf[3] or '', watched, unrelayed, doomed, levelled}
