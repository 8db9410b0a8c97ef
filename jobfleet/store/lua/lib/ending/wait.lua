-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/ending/batch
-- @include lib/job/keep_open

-- wait: running → scheduled, until a time or a signal. ARGV of an item: key, name (empty: only a time), delay (µs), ttl
-- (ms), end (µs; 0: the script decides it), seal of that end, the stored signal that the run could not open (empty: none),
-- and µs until it is looked at again (0: it is deleted).
-- The first run of a wait decides its end. With keys, the run decides it and seals it: it repeats the end that it could open.
-- A signal that was sent in the meantime makes the job due at once.
-- The job waits as long as it is due at the time in the field "@"; the signal script compares the two.
-- What the next run and the readers need is kept until then; k in the clear record has the ttl for the end of the job.
local function wait(batch, keys, item, key, name, delay, ttl, ending, seal, refused, again)
  local steps = item.steps_key
  local till = tonumber(ending)
  if till == 0 then till = tonumber(redis.call('HGET', steps, 'w:' .. key) or '') or batch.now + tonumber(delay) end
  local signal, due = name ~= '' and redis.call('HGET', steps, 'x:' .. name), till
  if signal and signal ~= refused then
    due = batch.now
  elseif signal and again == '0' then
    redis.call('HDEL', steps, 'x:' .. name)
  elseif signal then
    due = math.min(till, batch.now + tonumber(again))
  end
  local kept = math.max(0, till - batch.now) / 1000 + tonumber(ttl)
  redis.call('HSET', steps, 'w:' .. key, int(till), '@', int(due == batch.now and till or due) .. ' ' .. name)
  if seal ~= '' then redis.call('HSET', steps, 'e:' .. key, seal) end
  outlive(steps)
  for _, one in ipairs({item.log_key, item.chunks_key, item.parents_key}) do
    local left = redis.call('PTTL', one)
    if left >= 0 and left < kept then redis.call('PEXPIRE', one, int(kept)) end
  end
  local meta = '\n' .. (item.meta or '')
  for _, letter in ipairs({'x', 'k', 'w'}) do  -- it has started, so it does not expire any more
    meta = string.gsub(meta, '\n' .. letter .. ' %d+', '')
  end
  redis.call('HSET', keys.meta, item.id, 'k ' .. ttl .. '\nw ' .. int(batch.now) .. (meta == '\n' and '' or meta))
  stand(batch, keys, item, item.run.band, due)
  if item.tries then count(batch, 'retrying', 1) end
  count(batch, 'suspended', 1)
  note(batch, 'released', item.id, item.token, int(due), item.envelope, nil, item.tries)
end
