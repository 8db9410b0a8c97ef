-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs).
local function complete(batch, item, record, ttl, duration)
  redis.call('SET', item.result_key, 'completed ' .. batch.stamp .. ' ' .. item.token .. '\n' .. record, 'PX', ttl)
  forget(batch, item)
  finished(batch, item, 'co', duration)
  batch.run_us = (batch.run_us or 0) + tonumber(duration)
  note(batch, 'completed', item, item.token)
end
