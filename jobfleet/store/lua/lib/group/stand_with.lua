-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/group/group
-- @include lib/base/meta
-- @include lib/group/enter

-- A job waits in a band, due at `due`, with its group if it has one; for scripts that add one job at a time. `keys` has
-- grouped, gdue, meta, tag and now. Returns false for a job that waits behind others of its sequence.
local function stand_with(ready, keys, meta, band, due, id)
  local group = meta_field(meta, 'g')
  if not group then
    redis.call('ZADD', ready, int(due), id)
    return true
  end
  if is_strict(meta) and not enters(keys, group, meta, due, id) then
    redis.call('ZADD', ready, int(BLOCKED), id)
    return false
  end
  local groups = new_groups(keys)
  redis.call('ZADD', ready, groups.waits(group, band, due, id), id)
  groups.write()
  return true
end
