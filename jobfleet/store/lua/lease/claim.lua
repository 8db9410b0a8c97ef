-- claim: lease up to `limit` of the most urgent due jobs to one child.
--
-- KEYS    1 ready:0     zset    job ids by due time (µs), CRITICAL
--         2 ready:1     zset    HIGH
--         3 ready:2     zset    NORMAL
--         4 ready:3     zset    LOW
--         5 lease       zset    running ids by lease deadline (µs)
--         6 runs        hash    id → run
--         7 lane        hash    token, replid, longest
--         8 claim:<child> string last claim of the child, or "buried"
--         9 wake        zset    marker on which idle children block
--         10 totals     hash    counts
--         11 expiry     zset    ids by expires_at (µs), of jobs that wait
--         12 unique     hash    key → lock
--         13 grouped    zset    waiting jobs of groups
--         14 ring       zset    groups by their turn
--         15 gdue       zset    groups by the time of the next check of their turn (µs)
--         16 held       zset    running jobs of groups
--         17 rates      zset    groups by the time at which their tokens are full again (µs)
--         18 journal    stream  lifecycle events
--         19..* wake:<kind> zset markers for the kinds that know the jobs that this child leaves
-- READS   conf          hash    paused, limits, aging, functions, journal
--         tries         hash    id → tries
--         meta          hash    id → clear record
--         job:<id>      string  envelope
--         listeners     string  whether the events have a listener
-- ARGV    1 tag         text    the lane's prefix
--         2 child       text    child id
--         3 nonce       int     increases with every answered claim of the child in this lane, otherwise stays the same
--         4 lease       int     µs
--         5 limit       int     0..50; 0 only sets the marker again, for a child that took it without room
--         6 order       text    the digits of the four bands in the order of visits; "" for 0123
--         7 leave       text    functions whose jobs are left to others: lib/waiting/foreign; "" for none
--         8 past        text    the progress of the last claim that left jobs to others; "" from the beginning
-- FLAGS   allow-oom
-- RETURNS {"claimed", now, next_due, tokens, bands, ids_due, envelopes, tries, metas}   next_due 0: more are due now
--         {"guarded", now, next_due, tokens, …, functions}   the same while functions are paused, with these functions
--         {"empty", now, next_due} | {"paused", now} | {"buried"} | {"stale", seen}
--         tokens (only the first of several consecutive ones), ids_due (each id and its due time): texts separated by spaces
--         bands: one digit per job; tries, metas: empty if no job has any
--         if functions are left, "empty" and "guarded" end with the progress of the claim; otherwise no reply does
-- EMITS   claimed
-- COST    O(limit · log ready)
-- @include lib/base/stamp
-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/waiting/ready
-- @include lib/job/memory
-- @include lib/base/wide

local STRICT, ONLY_NORMAL = {1, 2, 3, 4}, {3}
local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local tag, child, nonce, lease, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local stamp = now_stamp()
local now = tonumber(stamp)

-- One command reads everything that is usually absent, and another one only if some of it exists.
local rare = {tag .. 'conf', tag .. 'listeners', tag .. 'tries', tag .. 'meta', KEYS[14], KEYS[15], KEYS[1], KEYS[2], KEYS[4]}
local bare = redis.call('EXISTS', unpack(rare)) == 0
local quiet = bare or redis.call('EXISTS', unpack(rare, 1, 6)) == 0
local conf = quiet and {} or redis.call('HMGET', tag .. 'conf', 'paused', 'limit', 'aging', 'groups', 'journal', 'functions')

-- `ids_due`: for each job its id and its due time, alternating.
local function ids_of(ids_due, first, last)
  local ids = {}
  for i = first, last do ids[i - first + 1] = ids_due[2 * i - 1] end
  return ids
end

-- Completes a reply with the data of the jobs; returns their tries and clear records, none if no job has any.
local function complete_reply(reply, bands, ids_due, count)
  local keys, job = {}, tag .. 'job:'
  for i = 1, count do keys[i] = job .. ids_due[2 * i - 1] end
  local envelopes = redis.call('MGET', unpack(keys))
  local tries, metas = {}, {}
  if not quiet then
    local ids = ids_of(ids_due, 1, count)
    if redis.call('EXISTS', tag .. 'tries') == 1 then tries = redis.call('HMGET', tag .. 'tries', unpack(ids)) end
    if redis.call('EXISTS', tag .. 'meta') == 1 then metas = redis.call('HMGET', tag .. 'meta', unpack(ids)) end
  end
  reply[5], reply[6], reply[7], reply[8], reply[9] = bands, table.concat(ids_due, ' ', 1, 2 * count), envelopes, tries, metas
  if conf[6] then reply[1], reply[10] = 'guarded', conf[6] end
  return tries, metas
end

local last = redis.call('GETRANGE', KEYS[8], 0, 20)
if last ~= '' then
  local seen = tonumber(string.match(last, '^%d+'))
  if not seen then return {'buried'} end
  if seen > 9e14 then seen = 0 end  -- no child counts so far: a foreign client has written it (docs/adr/0068)
  if nonce < seen then return {'stale', int(seen)} end
  if nonce == seen then
-- @include lib/job/run
    local ids_due, tokens, bands = {}, {}, {}
    local were, with, at = recall(redis.call('GET', KEYS[8]))
    for i = 1, #were do
      local run = redis.call('HGET', KEYS[6], were[i])
      if run and run_token(run) == with[i] then
        local n = #tokens + 1
        tokens[n], bands[n] = with[i], int(run_parts(run).band)
        ids_due[2 * n - 1], ids_due[2 * n] = were[i], at[i]
      end
    end
    if #tokens == 0 then return {'empty', stamp, '0'} end
    local reply = {'claimed', stamp, '0', table.concat(tokens, ' ')}
    complete_reply(reply, table.concat(bands), ids_due, #tokens)
    return reply
  end
end
if conf[1] then
  -- Stored, as below, so that the same claim, sent twice, does not grant jobs after a resume that nobody reads.
  redis.call('SET', KEYS[8], ARGV[3], 'PX', 3600000)
  return {'paused', stamp}
end

local ids_due, count, bands, taken, room = {}, 0, '', {}, limit
local more, order, quotas, next_token = false, STRICT, {}, nil
if ARGV[6] ~= '' then
  order = {}
  for digit in string.gmatch(ARGV[6], '%d') do order[#order + 1] = tonumber(digit) + 1 end
end
local fair, whole, foreign
if ARGV[7] ~= '' then
-- @include lib/waiting/foreign
  foreign = foreign_jobs(tag, now, KEYS, ARGV[7], ARGV[8])
end

-- Needed only for lanes with groups, limits or aging, functions included, because creating them takes time.
local has_groups = not quiet and redis.call('EXISTS', KEYS[14], KEYS[15]) > 0
if has_groups or conf[2] or conf[3] then
-- @include lib/group/rest
-- @include lib/group/turn
-- @include lib/group/limit
-- @include lib/group/fair
-- @include lib/waiting/aging
  local keys = {
    ready0 = KEYS[1], ready1 = KEYS[2], ready2 = KEYS[3], ready3 = KEYS[4], lane = KEYS[7], grouped = KEYS[13], ring = KEYS[14],
    gdue = KEYS[15], held = KEYS[16], rates = KEYS[17],
  }
  if conf[2] then
    whole = room_of(limits_of(conf[2]), redis.call('ZCARD', KEYS[5]), redis.call('ZSCORE', KEYS[17], ''), now)
    room, whole.look_after = math.min(room, whole.most), look_after
  end
  if has_groups then fair = fair_share(keys, conf[4] and conf[4] ~= '0', tag, now, stamp, foreign) end
  if conf[3] and order == STRICT and room > 0 then order, quotas = bands_by_age(keys, fair, tonumber(conf[3]), room, now) end
end
if not fair and order == STRICT and (bare or not quiet and redis.call('EXISTS', unpack(rare, 7)) == 0) then order = ONLY_NORMAL end

for place = 1, #order do
  local band = order[place]
  local most = math.min(room, quotas[place] or room)
  local before, heads = count, false
  if fair and most > 0 then
    fair.take(band - 1, most, function(id, due)
      count = count + 1
      ids_due[2 * count - 1], ids_due[2 * count] = id, due
    end)
  elseif most > 0 then
    local found = foreign and foreign.plain(band, most + 1)
      or redis.call('ZRANGEBYSCORE', KEYS[band], '-inf', stamp, 'WITHSCORES', 'LIMIT', '0', most + 1)
    heads = not foreign and string.byte(found[2] or '') ~= 45
    -- A score below zero does not belong to a plain job.
    if not heads and not foreign then
      found = redis.call('ZRANGEBYSCORE', KEYS[band], FIRST_PLAIN, stamp, 'WITHSCORES', 'LIMIT', '0', most + 1)
    end
    local here = #found / 2
    if here > most then more, here = true, most end
    if foreign then foreign.took(band, here) end
    if count == 0 then
      ids_due = found
    else
      for at = 1, 2 * here do ids_due[2 * count + at] = found[at] end
    end
    count = count + here
  elseif not more then
    more = redis.call('ZRANGEBYSCORE', KEYS[band], FIRST_PLAIN, stamp, 'LIMIT', '0', '1')[1] ~= nil
  end
  if count > before then
    taken[#taken + 1] = {band = band, first = before + 1, last = count, heads = heads}
    bands = bands .. string.rep(band - 1, count - before)
    room = room - (count - before)
  end
end
if fair then
  fair.rest()
  more = more or fair.more
end
-- A queue that is full or out of tokens has no more jobs for anybody; a freed slot or the next token wakes again.
if whole and whole.most <= count then
  more = false
  next_token = whole.why == 'rate' and int(whole.look_after(whole, count, now)) or '0'
end
local only = order == ONLY_NORMAL and 3 or nil

if count == 0 then
  -- Stored too: an older claim that arrives late must find itself stale.
  redis.call('SET', KEYS[8], ARGV[3], 'PX', 3600000)
  if fair then fair.write() end
  if whole and whole.is_over then redis.call('ZADD', KEYS[17], string.format('%.3f', whole.full), '') end
  if more then redis.call('ZADD', KEYS[9], 0, 'w') end
  if foreign then foreign.hand_on() end
  return {'empty', stamp, next_token or int(next_due(tag, stamp, has_groups, only)), foreign and foreign.progress() or nil}
end

local state = redis.call('HMGET', KEYS[7], 'token', 'replid', 'longest')
local info = redis.pcall('INFO', 'replication')
local named = type(info) == 'string' and string.find(info, 'master_replid:', 1, true)
local replid = named and string.match(info, '^%x+', named + 14) or '-'
local floor, former = now, tonumber(state[1] or '')
-- Another primary may have lost writes, including tokens; so may one without a token here, as after a flush, or with
-- a foreign client's text in its place. Skip far beyond all tokens that may have been granted before.
if not former or state[2] ~= replid then floor = now + 60000000 end
local base = math.max((former or 0) + 1, floor)
if base ~= base or base > 9e15 then return redis.error_reply('ERR tokens are used up: the clock of this server is wrong') end
local first_token = base == now and stamp or int(base)
local reply = {'claimed', stamp, '0', first_token}
local tries, metas = complete_reply(reply, bands, ids_due, count)
if foreign then reply[1], reply[10], reply[11] = 'guarded', conf[6] or '', foreign.progress() end
local ids = quiet and {} or ids_of(ids_due, 1, count)
local tried, expiring, freed = 0, {}, {}
for i = 1, math.max(#tries, #metas) do
  local meta = metas[i]
  if tries[i] then tried = tried + 1 end
  if meta and not is_group_only(meta) then
    if meta_field(meta, 'x') then expiring[#expiring + 1] = ids[i] end
    local key = meta_field(meta, 's') == 'q' and meta_field(meta, 'u')
    if key then
      local holder, till = string.match(redis.call('HGET', KEYS[12], key) or '', '^(%S+) ?(%d*)')
      if holder == ids[i] and (tonumber(till) or 0) == 0 then freed[#freed + 1] = key end
    end
  end
end
local heard = not quiet and is_heard(tag)
if not more and not next_token then
  local due, soonest = next_due(tag, stamp, has_groups, only), fair and fair.soonest
  next_token = int(soonest and (due == 0 or soonest < due) and soonest or due)
end
reply[3] = next_token or '0'
local events = {}
if heard or conf[5] and tried > 0 then
  for i = 1, count do events[i] = {'claimed', ids[i], int(base + i - 1), 0, words = child, tries = tries[i] or nil} end
end

-- Additions come before removals: if a key has a wrong type, the script ends here (docs/adr/0012).
-- One list serves for both: the stored value of a job follows its id.
local deadline = int(now + lease)
for at = 2, 2 * count, 2 do ids_due[at] = deadline end
-- An id that has a lease already is running, or two bands have it: a foreign client has written that. It is granted once.
local added
if count < MANY then
  added = redis.call('ZADD', KEYS[5], 'NX', deadline, unpack(ids_due, 1, 2 * count - 1))
else
  added = redis.call('ZADD', KEYS[5], 'NX', 0, WIDE, deadline, unpack(ids_due, 1, 2 * count - 1)) - 1
  redis.call('ZREM', KEYS[5], WIDE)
end
if added < count then
  local all = ids_of(ids_due, 1, count)
  local running, free, seen = redis.call('HMGET', KEYS[6], unpack(all)), {}, {}
  local refused = false
  for part = 1, #taken do
    local band = taken[part].band
    for i = taken[part].first, taken[part].last do
      local id = all[i]
      if running[i] or seen[id] then
        refused = true
        if running[i] or seen[id] ~= band then redis.call('ZREM', KEYS[band], id) end
        if fair then fair.drop(band - 1, id) end
      else
        seen[id], free[#free + 1] = band, id
      end
    end
  end
  if refused then  -- nothing is granted; the next claim finds the others
    if #free > 0 then redis.call('ZREM', KEYS[5], unpack(free)) end
    redis.call('SET', KEYS[8], ARGV[3], 'PX', 3600000)
    redis.call('ZADD', KEYS[9], 0, 'w')
    if foreign then foreign.hand_on() end
    return {'empty', stamp, '0', foreign and foreign.progress() or nil}
  end
  redis.call('ZADD', KEYS[5], 'XX', deadline, unpack(ids_due, 1, 2 * count - 1))  -- leases without a run: overwritten
end
-- The lease is written wide: above 64 bytes a value ends the hash's compact encoding, in which every
-- access is a scan; that was a sixth of a job's cost on the server.
local tail = '|' .. child .. '|' .. stamp .. '|' .. string.format('%015d', lease) .. '|'
-- Tokens are consecutive. To format a number is expensive, so most of them only get another last digit.
local DIGITS = {'0', '1', '2', '3', '4', '5', '6', '7', '8', '9'}
local begin, digit = string.sub(first_token, 1, -2), base % 10
local tens = (base - digit) / 10
for part = 1, #taken do
  local close = tail .. taken[part].band - 1 .. '|'
  for at = 2 * taken[part].first, 2 * taken[part].last, 2 do
    if digit == 10 then
      tens, digit = tens + 1, 0
      begin = int(tens)
    end
    digit = digit + 1
    ids_due[at] = begin .. DIGITS[digit] .. close
  end
end
redis.call('HSET', KEYS[6], unpack(ids_due, 1, 2 * count))
local token = begin .. DIGITS[digit]
local longest = tonumber(state[3] or '0') or 0
if state[2] == replid and longest >= lease then
  redis.call('HSET', KEYS[7], 'token', token)
else
  redis.call('HSET', KEYS[7], 'token', token, 'replid', replid, 'longest', int(math.max(longest, lease)))
end
redis.call('SET', KEYS[8], remember(ARGV[3], first_token, reply[6]), 'PX', 3600000)
for part = 1, #taken do
  local from = taken[part]
  if from.heads then
    redis.call('ZREMRANGEBYRANK', KEYS[from.band], 0, from.last - from.first)
  else
    redis.call('ZREM', KEYS[from.band], unpack(ids_of(ids_due, from.first, from.last)))
  end
end
if fair then fair.write() end
if #expiring > 0 then redis.call('ZREM', KEYS[11], unpack(expiring)) end
if #freed > 0 then redis.call('HDEL', KEYS[12], unpack(freed)) end
if tried > 0 then redis.call('HINCRBY', KEYS[10], 'retrying', -tried) end
if whole and whole.full then redis.call('ZADD', KEYS[17], string.format('%.3f', whole.full + count * whole.every), '') end
if more then redis.call('ZADD', KEYS[9], 0, 'w') end
if foreign then foreign.hand_on() end
if conf[5] then  -- create the functions only if they are needed
-- @include lib/events/journal
  if tried > 0 then
    write_journal(KEYS[18], KEYS[10], conf[5], events, stamp)
  else
    write_entry(KEYS[18], KEYS[10], conf[5], count, 'at', stamp, 'claimed', child .. ' ' .. first_token .. ' ' .. reply[6])
  end
end

if heard then emit(tag, now, events) end
return reply
