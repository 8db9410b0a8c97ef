-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/events/event
-- @include lib/group/group
-- @include lib/ending/results

-- Collects a script's writes, so that each kind of write is one command.
local function new_batch(now)
  return {
    now = now, stamp = int(now), over = {}, drop_tries = {}, meta = {}, expiry = {}, unique = {}, watched = {}, jobs = {},
    ready = {{}, {}, {}, {}}, left = {}, tries = {}, counts = {}, done = {}, results = {}, events = {},
    woken = false, paused = false,
  }
end

local function count(batch, name, by)
  batch.counts[name] = (batch.counts[name] or 0) + by
end

-- The job ends: delete everything that only open jobs have.
local function forget(batch, item)
  batch.jobs[#batch.jobs + 1] = item.job_key
  if item.tries then batch.drop_tries[#batch.drop_tries + 1] = item.id end
  if item.meta then
    batch.meta[#batch.meta + 1] = item.id
  end
  if item.meta and not is_group_only(item.meta) then
    if meta_field(item.meta, 'x') then batch.expiry[#batch.expiry + 1] = item.id end
    local key = meta_field(item.meta, 'u')
    if key then batch.unique[#batch.unique + 1] = {key, item.id} end
    if find(item.meta, '\no ', 1, true) then
      batch.strict = batch.strict or {}
      batch.strict[#batch.strict + 1] = item
    end
  end
  if item.watched then batch.watched[#batch.watched + 1] = item.id end
end

-- One line for the list of finished jobs, without the prefix that all ids of a lane share.
local function finished(batch, id, letters, duration)
  if not batch.begin then batch.begin = #string.match(id, '^[^.]*%.%d+%.') + 1 end
  batch.done[#batch.done + 1] = string.sub(id, batch.begin) .. ' ' .. letters .. ' ' .. duration
end

-- A result of the job, for `ttl` ms.
local function store_result(batch, item, text, ttl)
  local to = batch.results[ttl]
  if not to then
    to = {}
    batch.results[ttl] = to
  end
  local n = #to
  to[n + 1], to[n + 2] = item.result_key, text
end

-- Data for the journal only: words, and the job's envelope, record and tries.
local function note(batch, event, id, token, words, envelope, record, spent)
  if batch.heard or batch.journal then
    batch.events[#batch.events + 1] = {
      event, id, token, 1000000, words = words, envelope = envelope, record = record, tries = spent,
    }
  end
end

-- Changes among jobs of groups.
local function groups_of(batch, keys)
  batch.groups = batch.groups or new_groups(keys)
  return batch.groups
end

-- The job waits again and is due at `due`.
local function stand(batch, keys, item, band, due)
  local ready = batch.ready[band + 1]
  local group = item.meta and meta_field(item.meta, 'g')
  ready[#ready + 1] = group and groups_of(batch, keys).waits(group, band, due, item.id) or int(due)
  ready[#ready + 1] = item.id
  if due <= batch.now then batch.woken = true end
end

-- The job waited in a band at that score, and no longer does.
local function leave(batch, keys, item, band, score)
  batch.left[#batch.left + 1] = {band, item.id}
  if tonumber(score) < 0 then groups_of(batch, keys).leaves(meta_field(item.meta or '', 'g') or '', band, score, item.id) end
end

-- Jobs that left a band and wait again leave it at once, the others when they have ended.
local function split_left(batch)
  local stays, moved, ended = {}, {}, {}
  for band = 1, 4 do
    for i = 2, #batch.ready[band], 2 do stays[batch.ready[band][i]] = band - 1 end
  end
  for i = 1, #batch.left do
    local band, id = batch.left[i][1], batch.left[i][2]
    local to = stays[id] and moved or ended
    if stays[id] ~= band then to[#to + 1] = batch.left[i] end
  end
  return moved, ended
end

-- In the second attempt of a call (`anyway`), an error of what can be missing is noted, and the rest is written.
local protect = pcall
local function skip(batch, ok, reply)
  if type(reply) == 'table' and reply.err then ok, reply = false, reply.err end
  if not ok then batch.skipped = tostring(reply) end
end

-- The order of the writes (docs/adr/0068). Everything that can fail comes first, additions before removals: a call that
-- ends there has ended no job, and is sent again after the damage was moved aside. Then come results, the ends of runs and
-- the removals, which only touch keys that the script has read: nothing there can fail.
local function flush(batch, keys, lane_tag)
  if batch.strict then  -- create the functions only if they are needed
-- @include lib/group/advance
    advance(batch.strict, groups_of(batch, keys), keys, lane_tag, batch.now, function(item, band, due)
      stand(batch, keys, item, band, due)
    end)
  end
  local moved, ended = {}, {}
  if #batch.left > 0 then moved, ended = split_left(batch) end
  local free = {}
  for i = 1, #batch.unique do
    local key, id = batch.unique[i][1], batch.unique[i][2]
    -- A lock with an end time stays until then, whatever happens to its job (lib/job/unique.lua).
    local holder, till = string.match(redis.call('HGET', keys.unique, key) or '', '^(%S+) ?(%d*)')
    if holder == id and (tonumber(till) or 0) == 0 then free[#free + 1] = key end
  end
  local call = batch.anyway and redis.pcall or redis.call
  if #batch.over > 0 then skip(batch, true, call('ZREM', keys.lease, unpack(batch.over))) end
  if batch.anyway then  -- if it ends below, the runs stay: a reaper finds their results, and ends them (settle.lua)
    for ttl, rows in pairs(batch.results) do keep_results(rows, ttl) end
    batch.results = {}
  end
  if batch.letters then batch.write_letters(batch, keys) end
  if #batch.tries > 0 then redis.call('HSET', keys.tries, unpack(batch.tries)) end
  for band = 1, 4 do
    if #batch.ready[band] > 0 then redis.call('ZADD', keys['ready' .. band - 1], unpack(batch.ready[band])) end
  end
  for i = 1, #moved do redis.call('ZREM', keys['ready' .. moved[i][1]], moved[i][2]) end
  if batch.groups then
    local woken
    if batch.anyway and #batch.groups.stand == 0 then
      local ok, reply = protect(batch.groups.write, batch.now)
      skip(batch, ok, reply)
      woken = not ok or reply
    else
      woken = batch.groups.write(batch.now)
    end
    batch.woken = batch.woken or woken
  end
  for i = 1, #batch.watched do skip(batch, true, call('XADD', keys.outbox, '*', 'id', batch.watched[i])) end
  for name, every in pairs(batch.refunds or {}) do
    skip(batch, true, call('ZINCRBY', keys.rates, string.format('%.3f', -every), name))
  end
  if #batch.expiry > 0 then skip(batch, true, call('ZREM', keys.expiry, unpack(batch.expiry))) end
  if batch.woken and not batch.paused and keys.wake then skip(batch, true, call('ZADD', keys.wake, 0, 'w')) end
  if #batch.done > 0 then
    local lines = table.concat(batch.done, '\n')
    skip(batch, true, call('XADD', keys.done, 'MAXLEN', '~', 10000, '*', 'jobs', lines))
  end
  if batch.journal then
-- @include lib/events/journal
    if batch.anyway then
      skip(batch, protect(write_journal, keys.journal, keys.totals, batch.journal, batch.events, batch.stamp))
    else
      write_journal(keys.journal, keys.totals, batch.journal, batch.events, batch.stamp)
    end
  end
  for name, by in pairs(batch.counts) do
    if by ~= 0 then skip(batch, true, call('HINCRBY', keys.totals, name, int(by))) end
  end
  for ttl, rows in pairs(batch.results) do keep_results(rows, ttl) end
  if #batch.over > 0 then redis.call('HDEL', keys.runs, unpack(batch.over)) end
  for i = 1, #ended do redis.call('ZREM', keys['ready' .. ended[i][1]], ended[i][2]) end
  if #batch.drop_tries > 0 then redis.call('HDEL', keys.tries, unpack(batch.drop_tries)) end
  if #batch.meta > 0 then redis.call('HDEL', keys.meta, unpack(batch.meta)) end
  if #free > 0 then redis.call('HDEL', keys.unique, unpack(free)) end
  if #batch.watched > 0 then redis.call('HDEL', keys.watched, unpack(batch.watched)) end
  if #batch.jobs > 0 then redis.call('UNLINK', unpack(batch.jobs)) end
  if batch.heard then emit(lane_tag, batch.now, batch.events) end
end
