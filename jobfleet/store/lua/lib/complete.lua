-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs). Envelope and tries, for the journal.
local function complete(batch, id, token, result_key, record, ttl, duration, envelope, tries)
  local to = batch.results[ttl]
  if not to then
    to = {}
    batch.results[ttl] = to
  end
  local n = #to
  to[n + 1], to[n + 2] = result_key, 'completed ' .. batch.stamp .. ' ' .. token .. '\n' .. record
  finished(batch, id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', id, token, duration, envelope, record, tries)
end
