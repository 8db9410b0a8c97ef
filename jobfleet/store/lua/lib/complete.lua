-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs).
local function complete(batch, id, token, result_key, record, ttl, duration)
  redis.call('SET', result_key, 'completed ' .. batch.stamp .. ' ' .. token .. '\n' .. record, 'PX', ttl)
  finished(batch, id, 'co', duration)
  batch.run_us = (batch.run_us or 0) + duration
  note(batch, 'completed', id, token)
end
