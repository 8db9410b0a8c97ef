-- @include lib/ending/batch

-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs).
local function complete(batch, item, record, ttl, duration)
  local to = batch.results[ttl]
  if not to then
    to = {}
    batch.results[ttl] = to
  end
  local n = #to
  to[n + 1], to[n + 2] = item.result_key, 'completed ' .. batch.stamp .. ' ' .. item.token .. '\n' .. record
  finished(batch, item.id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', item.id, item.token, duration, item.envelope, record, item.tries)
  forget(batch, item)
end
