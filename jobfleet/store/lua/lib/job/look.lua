-- @include lib/base/number
-- @include lib/waiting/score
-- @include lib/waiting/awaited
-- @include lib/ending/brief

local function dead_letter(tag, id, progress)
  local entry = redis.call('HGET', tag .. 'dead', id)
  local found = entry and string.find(entry, '^%d+%-%d+$') and redis.call('XRANGE', tag .. 'dlq', entry, entry)
  if not found or not found[1] then return {'unknown'} end
  local values = {}
  for i = 1, #found[1][2], 2 do values[found[1][2][i]] = found[1][2][i + 1] end
  return {'dead', values.record or '', progress, values.reason or '', values.tries or ''}
end

-- The state of a job: {final, …}, {running, …}, {waiting, …}, {dead, …} or {unknown}.
local function look(tag, id, now)
  local progress = redis.call('GET', tag .. 'progress:' .. id) or ''
  local result = redis.call('GET', tag .. 'result:' .. id)
  if result then return {'final', with_record(tag, id, result), progress} end
  local envelope = redis.call('GET', tag .. 'job:' .. id) or ''
  local tries = redis.call('HGET', tag .. 'tries', id) or ''
  local run = redis.call('HGET', tag .. 'runs', id)
  if run then return {'running', run, progress, tries, envelope} end
  for band = 0, 3 do
    local due = redis.call('ZSCORE', tag .. 'ready:' .. band, id)
    if due then return {'waiting', int(band), int(ungrouped(due)), tries, envelope, progress, awaited(tag, id, due, now)} end
  end
  return dead_letter(tag, id, progress)
end
