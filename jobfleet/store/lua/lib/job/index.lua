-- @include lib/base/number

-- Jobs by tag, user and session. What comes with a job names its indexes in lines "i name"; these are not kept in its
-- clear record, since nobody reads them again: an index is looked through for what is gone (sweep.lua), when `indexes` says.
local INDEX_KEPT = 40 * 86400000  -- ms; longer than dead letters are kept, and renewed by each look
local FIRST_LOOK = 600000000

-- The clear record without its lines of indexes, which are gathered in `found`.
local function take_indexes(found, meta, id, at, due)
  local rest, lines = string.gsub('\n' .. meta, '\ni ([^\n]+)', function(name)
    local entries = found[name]
    if not entries then
      entries = {}
      found[name] = entries
      found[#found + 1] = name
    end
    entries[#entries + 1] = int(at)
    entries[#entries + 1] = id
    return ''
  end)
  if lines == 0 then return meta end
  found.latest = math.max(found.latest or 0, tonumber(due))
  return string.sub(rest, 2)
end

local function write_indexes(found, tag, now)
  if #found == 0 then return end
  local looks, kept = {}, math.max(0, found.latest - now) / 1000 + INDEX_KEPT
  for i = 1, #found do
    local name = found[i]
    local key = tag .. 'index:' .. name
    redis.call('ZADD', key, unpack(found[name]))
    if redis.call('PTTL', key) < kept then redis.call('PEXPIRE', key, int(kept + 86400000)) end
    looks[2 * i - 1], looks[2 * i] = int(now + FIRST_LOOK), name
  end
  redis.call('ZADD', tag .. 'indexes', 'NX', unpack(looks))
end
