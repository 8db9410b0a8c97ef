-- @include lib/ending/batch
-- @include lib/ending/brief

-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs); of one that is completed briefly also
-- the ttl of the record (ms), and the proof of the line (empty without keys), which is where other lines have the reason.
local function complete(batch, item, record, ttl, duration, brief, proof)
  local to = batch.results[ttl]
  if not to then
    to = {}
    batch.results[ttl] = to
  end
  local n = #to
  local line = 'completed ' .. batch.stamp .. ' ' .. item.token .. ((proof or '') ~= '' and ' 0 - - ' .. proof or '')
  to[n + 1], to[n + 2] = item.result_key, line .. '\n' .. (brief and '' or record)
  if brief then keep_briefly(item, record, brief) end
  finished(batch, item.id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', item.id, item.token, duration, item.envelope, record, item.tries)
  forget(batch, item)
end
