-- complete: running → completed. ARGV of an item: record, ttl (ms), duration (µs).
local function complete(batch, item, record, ttl, duration)
  redis.call('SET', item.result_key, 'completed ' .. int(batch.now) .. ' ' .. item.token .. '\n' .. record, 'PX', ttl)
  forget(batch, item)
  finished(batch, item, 'completed', duration)
  batch.run_us = (batch.run_us or 0) + tonumber(duration)
  batch.events[#batch.events + 1] = {'completed', item.id, item.token, 1000000}
end
