-- retry, release and park: running → waiting. ARGV of an item: delay (µs), tries (empty: unchanged).
-- A job given back at once keeps its place: it is due when it was claimed, before all that came since.
-- One that was not started may still expire.
local function wait_again(batch, keys, item, event, delay, tries)
  local due = batch.now + tonumber(delay)
  if event == 'released' and delay == '0' then due = item.run.claimed end
  stand(batch, keys, item, item.run.band, due)
  if tries ~= '' then
    batch.tries[#batch.tries + 1] = item.id
    batch.tries[#batch.tries + 1] = tries
  end
  local expires = event == 'released' and item.meta and meta_field(item.meta, 'x')
  if expires and tries == '' and not item.tries then redis.call('ZADD', keys.expiry, expires, item.id) end
  if tries ~= '' or item.tries then count(batch, 'retrying', 1) end
  note(batch, event, item.id, item.token, int(due), item.envelope, nil, tries ~= '' and tries or item.tries)
end
