-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/score
-- @include lib/ending/batch

-- withhold: running → queued, out of the reach of claims while its function is paused. ARGV of an item: due (µs), function.
-- `functions` are the paused ones, as the lane knows them now: if this one is none of them any more, it keeps its place.
local function withhold(batch, keys, item, due, name, functions)
  local is_paused = functions and string.find('\n' .. functions, '\n' .. name .. ' ', 1, true)
  local score = withheld_score(due)
  local stood = score - AGE
  if is_paused then
    stand(batch, keys, {id = item.id}, item.run.band, score)
  else
    stand(batch, keys, item, item.run.band, stood)
  end
  local expires = item.meta and not item.tries and meta_field(item.meta, 'x')
  if expires then redis.call('ZADD', keys.expiry, expires, item.id) end
  if item.tries then count(batch, 'retrying', 1) end
  note(batch, 'withheld', item.id, item.token, int(stood), item.envelope, nil, item.tries)
end
