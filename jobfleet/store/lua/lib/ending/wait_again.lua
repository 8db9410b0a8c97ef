-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/ending/batch

-- retry, release and park: running → waiting. ARGV of an item: delay (µs), tries (empty: unchanged).
-- A job that is released at once keeps its position: it is due when it was claimed, before all later jobs.
-- A job that was not started may still expire.
local function wait_again(batch, keys, item, event, delay, spent)
  local due = batch.now + tonumber(delay)
  if event == 'released' and delay == '0' then due = item.run.claimed end
  stand(batch, keys, item, item.run.band, due)
  if spent ~= '' then
    batch.tries[#batch.tries + 1] = item.id
    batch.tries[#batch.tries + 1] = spent
  end
  local expires = event == 'released' and item.meta and meta_field(item.meta, 'x')
  if expires and spent == '' and not item.tries then redis.call('ZADD', keys.expiry, expires, item.id) end
  if spent ~= '' or item.tries then count(batch, 'retrying', 1) end
  note(batch, event, item.id, item.token, int(due), item.envelope, nil, spent ~= '' and spent or item.tries)
end
