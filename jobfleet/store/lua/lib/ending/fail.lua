-- @include lib/base/number
-- @include lib/ending/batch
-- @include lib/ending/letters

-- fail: running → failed, and a dead letter. ARGV of an item: record, ttl (ms), duration (µs), reason, tries.
local function fail(batch, item, record, ttl, duration, reason, spent)
  local line = 'failed ' .. int(batch.now) .. ' ' .. item.token .. ' 0 - - ' .. reason
  store_result(batch, item, line .. '\n' .. record, ttl)
  dead_letter(batch, item, 'reason', reason, 'band', item.run.band, 'tries', spent, 'meta', item.meta or '', 'record', record,
    'envelope', item.envelope)
  item.is_failure = true
  forget(batch, item)
  finished(batch, item.id, 'fa', duration)
  batch.run_us = (batch.run_us or 0) + duration
  local words = reason .. ' ' .. duration .. ' ' .. int(item.run.band)
  note(batch, 'failed', item.id, item.token, words, item.envelope, record, spent)
end
