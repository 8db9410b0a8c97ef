-- The record of an ending may be kept for a shorter time than the id is remembered. It is stored in a key of its own then.
local function value_key(lane_tag, id) return lane_tag .. 'value:' .. id end

-- Stores the record of an ending for `ttl` ms; 0 does not store it.
local function keep_briefly(item, record, ttl)
  if ttl ~= '0' and record ~= '' then redis.call('SET', item.value_key, record, 'PX', ttl) end
end

-- An ending with its record, wherever that is stored.
local function with_record(lane_tag, id, result)
  if string.sub(result, -1) ~= '\n' then return result end
  return result .. (redis.call('GET', value_key(lane_tag, id)) or '')
end
