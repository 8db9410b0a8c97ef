-- @include lib/base/number
-- @include lib/ending/batch

-- fail: running → failed, and a dead letter. ARGV of an item: record, ttl (ms), duration (µs), reason, tries.
local function fail(batch, keys, item, record, ttl, duration, reason, spent)
  local line = 'failed ' .. int(batch.now) .. ' ' .. item.token .. ' 0 - - ' .. reason
  redis.call('SET', item.result_key, line .. '\n' .. record, 'PX', ttl)
  -- Remove a dead letter of an earlier life of this id.
  if item.dead and string.find(item.dead, '^%d+%-%d+$') then redis.call('XDEL', keys.dlq, item.dead) end
  local entry = redis.call('XADD', keys.dlq, '*', 'id', item.id, 'reason', reason, 'band', item.run.band, 'tries', spent,
    'meta', item.meta or '', 'record', record, 'envelope', item.envelope)
  redis.call('HSET', keys.dead, item.id, entry)
  item.is_failure = true
  forget(batch, item)
  finished(batch, item.id, 'fa', duration)
  batch.run_us = (batch.run_us or 0) + duration
  local words = reason .. ' ' .. duration .. ' ' .. int(item.run.band)
  note(batch, 'failed', item.id, item.token, words, item.envelope, record, spent)
end
