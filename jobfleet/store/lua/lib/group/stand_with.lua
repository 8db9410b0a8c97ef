-- @include lib/base/number
-- @include lib/group/group
-- @include lib/base/meta

-- A job waits in a band, due at `due`, with its group if it has one; for scripts that add one job at a time.
local function stand_with(ready, keys, meta, band, due, id)
  local group = meta_field(meta, 'g')
  if not group then return redis.call('ZADD', ready, int(due), id) end
  local groups = new_groups(keys)
  redis.call('ZADD', ready, groups.waits(group, band, due, id), id)
  groups.write()
end
