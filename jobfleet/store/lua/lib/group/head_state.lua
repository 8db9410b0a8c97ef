-- @include lib/base/number
-- @include lib/waiting/score

-- The state of the head of a sequence, and when it is due (µs, 0 unless it waits): running, waiting, sleeping (since a run,
-- and the signal that it waits for, which may be empty), blocked (by parents), withheld (its function is paused), or parked:
-- it is not open any more.
local function head_state(tag, id)
  if redis.call('HEXISTS', tag .. 'runs', id) == 1 then return 'running', '0' end
  for band = 0, 3 do
    local score = redis.call('ZSCORE', tag .. 'ready:' .. band, id)
    if score then
      if is_blocked(score) then return 'blocked', '0' end
      local due = int(due_of_score(score))
      if is_withheld(score) then return 'withheld', due end
      local till, signal = string.match(redis.call('HGET', tag .. 'steps:' .. id, '@') or '', '^(%d+) (.*)$')
      if till == due then return 'sleeping', due, signal end
      return 'waiting', due
    end
  end
  return 'parked', '0'
end
