-- claim: lease up to `limit` of the most urgent due jobs to one child.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 lease       zset    running ids by lease deadline (µs)
--         6 runs        hash    id → run
--         7 lane        hash    token, run_id, longest
--         8 claim:<child> string its last claim, or "buried"
--         9 wake        zset    the marker idle children block on
--         10 totals     hash    counts
--         11 expiry     zset    ids by expires_at (µs), of jobs that wait
--         12 unique     hash    key → lock
--         13 grouped    zset    waiting jobs of groups
--         14 ring       zset    groups by their turn
--         15 gdue       zset    groups by when their turn is to be looked at (µs)
--         16 held       zset    running jobs of groups
--         17 rates      zset    groups by when their tokens are full again (µs)
--         18 journal    stream  lifecycle events
-- READS   conf          hash    paused, limits, aging, functions, journal
--         tries         hash    id → tries
--         meta          hash    id → clear record
--         job:<id>      string  envelope
--         listeners     string  whether anybody listens
-- ARGV    1 tag         text    the lane's prefix
--         2 child       text    child id
--         3 nonce       int     grows with every claim of the child in this lane
--         4 lease       int     µs
--         5 limit       int     0..50; 0 only marks the wake-up again, for a child that took it without room
--         6 order       text    the digits of the four bands as they are visited; "" for 0123
-- FLAGS   allow-oom
-- RETURNS {"claimed", now, next_due, id, token, due, band, envelope, tries, meta, …}   next_due 0: more is due now
--         {"guarded", now, next_due, id, …, functions}   the same while functions are paused, and which
--         {"empty", now, next_due} | {"paused", now} | {"buried"} | {"stale"}
-- EMITS   claimed
-- COST    O(limit · log ready)
-- @include lib/clock
-- @include lib/number
-- @include lib/run
-- @include lib/meta
-- @include lib/event
-- @include lib/ready
-- @include lib/memory

local STRICT = {1, 2, 3, 4}
local tag, child, nonce, lease, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local now = now_us()
local stamp = int(now)

local function grants_of(reply, ids, tokens, dues, bands)
  local keys = {}
  for i = 1, #ids do keys[i] = tag .. 'job:' .. ids[i] end
  local envelopes = redis.call('MGET', unpack(keys))
  local tries, metas, tried, expiring, freed = {}, {}, 0, {}, nil
  if redis.call('EXISTS', tag .. 'tries', tag .. 'meta') > 0 then
    tries = redis.call('HMGET', tag .. 'tries', unpack(ids))
    metas = redis.call('HMGET', tag .. 'meta', unpack(ids))
  end
  local at = 3
  for i = 1, #ids do
    if tries[i] then tried = tried + 1 end
    if metas[i] and not is_group_only(metas[i]) then
      if meta_field(metas[i], 'x') then expiring[#expiring + 1] = ids[i] end
      if meta_field(metas[i], 's') == 'q' then
        local key = meta_field(metas[i], 'u')
        local holder, till = string.match(redis.call('HGET', KEYS[12], key) or '', '^(%S+) ?(%d*)')
        freed = freed or {}
        if holder == ids[i] and (tonumber(till) or 0) == 0 then freed[#freed + 1] = key end
      end
    end
    reply[at + 1], reply[at + 2], reply[at + 3], reply[at + 4] = ids[i], tokens[i], dues[i], bands[i]
    reply[at + 5], reply[at + 6], reply[at + 7] = envelopes[i] or '', tries[i] or '', metas[i] or ''
    at = at + 7
  end
  return reply, tried, expiring, freed
end

local conf = redis.call('HMGET', tag .. 'conf', 'paused', 'limit', 'aging', 'groups', 'journal', 'functions')

local function guarded(reply)
  if conf[6] then reply[1], reply[#reply + 1] = 'guarded', conf[6] end
  return reply
end

local last = redis.call('GET', KEYS[8])
if last and string.sub(last, 1, 6) == 'buried' then return {'buried'} end
if last then
  local seen = tonumber(string.match(last, '^(%d+)'))
  if nonce < seen then return {'stale'} end
  if nonce == seen then
    local ids, tokens, dues, bands = {}, {}, {}, {}
    local were, with, at = recall(last)
    for i = 1, #were do
      local run = redis.call('HGET', KEYS[6], were[i])
      if run and run_token(run) == with[i] then
        ids[#ids + 1] = were[i]
        tokens[#ids], dues[#ids], bands[#ids] = with[i], at[i], int(run_parts(run).band)
      end
    end
    if #ids == 0 then return {'empty', stamp, '0'} end
    return guarded((grants_of({'claimed', stamp, '0'}, ids, tokens, dues, bands)))
  end
end
if conf[1] then return {'paused', stamp} end

local ids, dues, bands, taken, room = {}, {}, {}, {{}, {}, {}, {}}, limit
local more, order, quotas, next_token = false, STRICT, {}, nil
if ARGV[6] ~= '' then
  order = {}
  for digit in string.gmatch(ARGV[6], '%d') do order[#order + 1] = tonumber(digit) + 1 end
end
local fair, whole

-- What only lanes with groups, limits or aging need, functions included, since making those takes time.
local has_groups = redis.call('EXISTS', KEYS[14], KEYS[15]) > 0
if has_groups or conf[2] or conf[3] then
-- @include lib/rest
-- @include lib/turn
-- @include lib/limit
-- @include lib/fair
-- @include lib/aging
  local keys = {
    ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], lane = KEYS[7], grouped = KEYS[13], ring = KEYS[14],
    gdue = KEYS[15], held = KEYS[16], rates = KEYS[17],
  }
  if conf[2] then
    whole = room_of(limits_of(conf[2]), redis.call('ZCARD', KEYS[5]), redis.call('ZSCORE', KEYS[17], ''), now)
    room, whole.look_after = math.min(room, whole.most), look_after
  end
  if has_groups then fair = fair_share(keys, conf[4] and conf[4] ~= '0') end
  if conf[3] and order == STRICT and room > 0 then order, quotas = bands_by_age(keys, fair, tonumber(conf[3]), room) end
end

for place = 1, 4 do
  local band = order[place]
  local most = math.min(room, quotas[place] or room)
  if fair and most > 0 then
    fair.take(band - 1, most, function(id, due)
      local n = #ids + 1
      ids[n], dues[n], bands[n] = id, due, band - 1
      taken[band][#taken[band] + 1] = id
      room = room - 1
    end)
  elseif most > 0 then
    local found = redis.call('ZRANGEBYSCORE', KEYS[band], '0', stamp, 'WITHSCORES', 'LIMIT', 0, most + 1)
    local here = #found / 2
    if here > most then more, here = true, most end
    for i = 1, here do
      local n = #ids + 1
      ids[n], dues[n], bands[n] = found[2 * i - 1], found[2 * i], band - 1
      taken[band][i] = found[2 * i - 1]
    end
    room = room - here
  elseif not more then
    more = redis.call('ZRANGEBYSCORE', KEYS[band], '0', stamp, 'LIMIT', 0, 1)[1] ~= nil
  end
end
if fair then
  fair.rest()
  more = more or fair.more
end
-- A queue that is full, or out of tokens, has nothing more for anybody; a slot that is freed, or the next token, calls again.
if whole and whole.most <= #ids then
  more = false
  next_token = whole.why == 'rate' and int(whole.look_after(whole, #ids, now)) or '0'
end

if #ids == 0 then
  -- Remembered too: an older claim that arrives late must find itself stale.
  redis.call('SET', KEYS[8], int(nonce), 'PX', 3600000)
  if fair then fair.write() end
  if more then redis.call('ZADD', KEYS[9], 0, 'w') end
  return {'empty', stamp, next_token or int(next_due(tag, now, has_groups))}
end

local state = redis.call('HMGET', KEYS[7], 'token', 'run_id', 'longest')
local info = redis.pcall('INFO', 'server')
local run_id = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '-'
local floor = now
-- Another primary may have lost writes, tokens among them: leave what its predecessor can have granted far behind.
if state[2] and state[2] ~= run_id then floor = now + 60000000 end
local base = math.max(tonumber(state[1] or '0') + 1, floor)
if base > 9e15 then return redis.error_reply('ERR tokens are used up: the clock of this server is wrong') end
local tokens = {}
for i = 1, #ids do tokens[i] = int(base + i - 1) end
local reply, tried, expiring, freed = grants_of({'claimed', stamp, '0'}, ids, tokens, dues, bands)
local heard = is_heard(tag)
if not more and not next_token then
  local due, soonest = next_due(tag, now, has_groups), fair and fair.soonest
  next_token = int(soonest and (due == 0 or soonest < due) and soonest or due)
end
reply[3] = next_token or '0'

local deadline, leases, runs, events = int(now + lease), {}, {}, {}
-- The lease is written wide: past 64 bytes a value keeps its hash from the compact form, whose every
-- access is a search; it cost a sixth of all that a job costs the server.
local tail = '|' .. child .. '|' .. stamp .. '|' .. string.format('%015d', lease) .. '|'
for i = 1, #ids do
  leases[2 * i - 1], leases[2 * i] = deadline, ids[i]
  runs[2 * i - 1] = ids[i]
  runs[2 * i] = tokens[i] .. tail .. bands[i] .. '|'
  if heard or conf[5] then
    local spent = reply[7 * i + 2]
    events[i] = {'claimed', ids[i], tokens[i], 0, words = child, tries = spent ~= '' and spent or nil}
  end
end
for band = 1, 4 do
  if #taken[band] > 0 then redis.call('ZREM', KEYS[band], unpack(taken[band])) end
end
redis.call('ZADD', KEYS[5], unpack(leases))
redis.call('HSET', KEYS[6], unpack(runs))
redis.call('HSET', KEYS[7], 'token', int(base + #ids - 1), 'run_id', run_id, 'longest', int(math.max(tonumber(state[3] or '0'), lease)))
redis.call('SET', KEYS[8], remember(int(nonce), tokens[1], ids, dues), 'PX', 3600000)
if #expiring > 0 then redis.call('ZREM', KEYS[11], unpack(expiring)) end
if freed and #freed > 0 then redis.call('HDEL', KEYS[12], unpack(freed)) end
if tried > 0 then redis.call('HINCRBY', KEYS[10], 'retrying', -tried) end
if fair then fair.write() end
if whole and whole.full then redis.call('ZADD', KEYS[17], string.format('%.3f', whole.full + #ids * whole.every), '') end
if more then redis.call('ZADD', KEYS[9], 0, 'w') end
if conf[5] then  -- functions are made only for whom they are
-- @include lib/journal
  write_journal(KEYS[18], KEYS[10], conf[5], events, stamp)
end

if heard then emit(tag, now, events) end
return guarded(reply)
