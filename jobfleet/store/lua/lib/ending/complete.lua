-- @include lib/ending/batch
-- @include lib/ending/brief
-- @include lib/ending/past

-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs); of one that is completed briefly also
-- the ttl of the record (ms), and the proof of the line (empty without keys), which is where other lines have the reason.
-- What was asked for while the job was open comes there or behind the counts, as in lib/ending/ended.lua.
local function complete(batch, item, record, ttl, duration, brief, proof)
  local line = 'completed ' .. batch.stamp .. ' ' .. item.token
  local is_proven, events = (proof or '') ~= '', events_word(item.meta)
  if is_proven then
    line = line .. ' 0 - - ' .. proof .. (events ~= '' and ' 0 - 0:0:0:0:0:0:0:' .. events or '')
  elseif events ~= '' then
    line = line .. ' 0 - - l:' .. events
  end
  store_result(batch, item, line .. '\n' .. (brief and '' or record), ttl)
  if brief then keep_briefly(item, record, brief) end
  finished(batch, item.id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', item.id, item.token, duration, item.envelope, record,
    events == '' and item.tries or tries_with_events(item))
  forget(batch, item)
end
