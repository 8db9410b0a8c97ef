-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/score
-- @include lib/ending/batch

-- withhold: running → queued, but not claimable while its function is paused. ARGV of an item: due (µs), function.
-- `functions` are the functions that are paused now. If this one is not among them, the job keeps its position.
local function withhold(batch, keys, item, due, name, functions)
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
  if item.tries then count(batch, 'retrying', 1) end
  note(batch, 'withheld', item.id, item.token, int(position), item.envelope, nil, item.tries)
end
