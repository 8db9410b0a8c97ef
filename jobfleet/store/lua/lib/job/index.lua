-- @include lib/base/number

-- Jobs by tag, free text and function. A new job names its indexes in lines "i name". Its stored clear record omits
-- them, because nothing reads them again: an index is cleaned of deleted jobs (sweep.lua) at the time in `indexes`.
local INDEX_KEPT = 40 * 86400000  -- ms; longer than the lifetime of dead letters, and renewed by each cleaning
local FIRST_LOOK = 600000000

-- The clear record without its lines of indexes, which are collected in `found`.
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
