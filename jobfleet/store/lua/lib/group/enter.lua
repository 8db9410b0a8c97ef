-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/bounds
-- @include lib/group/sequence

-- Whether a job of a sequence is the head, so that it waits in its group now; if not, it waits until it is. It is a
-- new job, one whose parents have ended, or a replayed one, which takes its old place. `keys` has grouped, meta, tag and now.
local function enters(keys, group, meta, due, id)
  local grouped = keys.grouped
  local place = place_of(meta)
  if not place then
    local places = new_places(grouped, keys.now)
    local placed, is_first = places.join(group, meta, id, due)
    places.write()
    redis.call('HSET', keys.meta, id, placed)
    return is_first
  end
  level(grouped)
  local head = head_of(grouped, group)
  local is_head = not head or head == id
  if not is_head then
    -- A head that waits for its parents lets those pass that came before it: one of them may be its parent.
    local other = tonumber((place_of(redis.call('HGET', keys.meta, head) or ''))) or 0
    for band = 0, 3 do
      local score = redis.call('ZSCORE', keys.tag .. 'ready:' .. band, head)
      if is_blocked(score) and tonumber(place) < other then is_head = true end
    end
  end
  redis.call('ZADD', grouped, '0', sequence_entry('s', group, place, id))
  if is_head then
    redis.call('ZADD', grouped, '0', 'h' .. group .. '\0' .. id)
    if head and head ~= id then redis.call('ZREM', grouped, 'h' .. group .. '\0' .. head) end
    local failing = first_in(grouped, 'f', group)
    if failing then redis.call('ZREM', grouped, 'f' .. group .. '\0' .. failing) end
  elseif due > keys.now then
    meta = string.gsub(meta, '\nn %d+ ?%d*', '\nn ' .. place .. ' ' .. int(due))
    redis.call('HSET', keys.meta, id, meta)
  end
  return is_head
end
