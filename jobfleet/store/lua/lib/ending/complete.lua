-- @include lib/ending/batch
-- @include lib/ending/brief

-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs); of one that is completed briefly also
-- the ttl of the record (ms).
local function complete(batch, item, record, ttl, duration, brief)
  local to = batch.results[ttl]
  if not to then
    to = {}
    batch.results[ttl] = to
  end
  local n = #to
  to[n + 1], to[n + 2] = item.result_key, 'completed ' .. batch.stamp .. ' ' .. item.token .. '\n' .. (brief and '' or record)
  if brief then keep_briefly(item, record, brief) end
  finished(batch, item.id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', item.id, item.token, duration, item.envelope, record, item.tries)
  forget(batch, item)
end
