-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/ending/batch

-- wait: running → scheduled, until a time or a signal. ARGV of an item: key, name (empty: only a time), delay (µs), ttl
-- (ms). The first run of a wait decides its end. A signal that was sent in the meantime makes the job due at once.
-- The job waits as long as it is due at the time in the field "@"; the signal script compares the two.
local function wait(batch, keys, item, key, name, delay, ttl)
  local steps = item.steps_key
  local till = tonumber(redis.call('HGET', steps, 'w:' .. key) or '') or batch.now + tonumber(delay)
  local due = name ~= '' and redis.call('HEXISTS', steps, 'x:' .. name) == 1 and batch.now or till
  redis.call('HSET', steps, 'w:' .. key, int(till), '@', int(till) .. ' ' .. name)
  redis.call('PEXPIRE', steps, int(math.max(0, till - batch.now) / 1000 + tonumber(ttl)))
  if item.meta and meta_field(item.meta, 'x') then  -- it has started, so it does not expire any more
    local meta = string.gsub(string.gsub('\n' .. item.meta, '\nx %d+', ''), '^\n', '')
    if meta == '' then redis.call('HDEL', keys.meta, item.id) else redis.call('HSET', keys.meta, item.id, meta) end
  end
  stand(batch, keys, item, item.run.band, due)
  if item.tries then count(batch, 'retrying', 1) end
  count(batch, 'suspended', 1)
  note(batch, 'released', item.id, item.token, int(due), item.envelope, nil, item.tries)
end
