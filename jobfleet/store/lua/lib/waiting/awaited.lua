-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/waiting/score

-- What a job that is not due waits for since a run: "since signal" (µs, 0 if that is not known; without a signal it sleeps).
-- Empty for a job that does not wait in this way. A key of another type counts as none.
local function awaited(tag, id, score, now)
  local due = due_of_score(score)
  if due <= now or due >= BLOCKED then return '' end
  local kept = redis.pcall('HGET', tag .. 'steps:' .. id, '@')
  local till, signal = string.match(type(kept) == 'string' and kept or '', '^(%d+) (.*)$')
  if till ~= int(due) then return '' end
  local meta = redis.pcall('HGET', tag .. 'meta', id)
  return (string.match('\n' .. (type(meta) == 'string' and meta or ''), '\nw (%d+)') or '0') .. ' ' .. signal
end
