-- @include lib/ending/batch
-- @include lib/ending/brief

-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs); of one that is completed briefly also
-- the ttl of the record (ms).
local function complete(batch, item, record, ttl, duration, brief)
  store_result(batch, item, 'completed ' .. batch.stamp .. ' ' .. item.token .. '\n' .. (brief and '' or record), ttl)
  if brief then keep_briefly(item, record, brief) end
  finished(batch, item.id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', item.id, item.token, duration, item.envelope, record, item.tries)
  forget(batch, item)
end
