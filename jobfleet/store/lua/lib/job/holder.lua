-- @include lib/waiting/score

-- The status of the holder of a unique key, and whether it has started. `bands` are four keys.
local function standing_of(tag, bands, id, now)
  if redis.call('HEXISTS', tag .. 'runs', id) == 1 then return 'running', true end
  for band = 1, 4 do
    local due = redis.call('ZSCORE', bands[band], id)
    if is_blocked(due) then return 'blocked', false end
    if due then
      local has_tries = redis.call('HEXISTS', tag .. 'tries', id) == 1
      local has_started = has_tries or redis.call('HEXISTS', tag .. 'steps:' .. id, '@') == 1  -- it waits in a run
      if due_of_score(due) <= now then return 'queued', has_started end
      return has_tries and 'retrying' or 'scheduled', has_started
    end
  end
  if redis.call('EXISTS', tag .. 'job:' .. id) == 1 then return 'blocked', true end
  return string.match(redis.call('GETRANGE', tag .. 'result:' .. id, 0, 20), '^%a+') or 'completed', true
end
