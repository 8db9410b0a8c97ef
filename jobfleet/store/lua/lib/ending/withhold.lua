-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/score
-- @include lib/ending/batch
-- @include lib/group/limit
-- @include lib/job/unique

-- A run that never started costs no token: those of the queue, and of its group, come back (lib/ending/batch).
local function refund(batch, rates, prefix, group, line)
  batch.refunds = batch.refunds or {}
  local function give_back(name, every)
    if every > 0 and redis.call('ZSCORE', rates, name) then batch.refunds[name] = (batch.refunds[name] or 0) + every end
  end
  give_back('', limits_of(line).every)
  if group then
    local set = redis.call('HMGET', prefix .. 'conf', 'limit:*', 'limit:' .. group)
    give_back(group, limits_of(set[2], limits_of(set[1])).every)
  end
end

-- withhold: running → queued, but not claimable while its function is paused. ARGV of an item: due (µs), function.
-- `functions` are the functions that are paused now. If this one is not among them, the job keeps its position.
-- It has its unique key again if that is kept while the job is queued, and no other job has taken it since.
local function withhold(batch, keys, prefix, item, due, name, functions)
  local is_paused = functions and string.find('\n' .. functions, '\n' .. name .. ' ', 1, true)
  local score = withheld_score(due)
  local position = score - AGE
  if is_paused then
    stand(batch, keys, {id = item.id}, item.run.band, score)
  else
    stand(batch, keys, item, item.run.band, position)
  end
  local expires = item.meta and not item.tries and meta_field(item.meta, 'x')
  if expires then redis.call('ZADD', keys.expiry, expires, item.id) end
  local key = item.meta and meta_field(item.meta, 's') == 'q' and meta_field(item.meta, 'u')
  if key and not lock_on(keys.unique, prefix, key, batch.now) then
    redis.call('HSET', keys.unique, key, (lock_for(item.id, 'q', batch.now)))
  end
  if item.tries then count(batch, 'retrying', 1) end
  note(batch, 'withheld', item.id, item.token, int(position), item.envelope, nil, item.tries)
end
