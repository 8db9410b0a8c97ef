-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/score
-- @include lib/group/limit

-- Maximum number of each kind that one tick corrects.
local DRAWN = 1000

-- After the clock has stepped back, jobs that were due lie in the future. This collects jobs that are due up to `reach`,
-- groups whose next check is later than now, and token buckets that are further from full than empty ones.
-- It returns whether there is anything to correct, whether there is more than one tick corrects, and how to write it.
-- Jobs keep their order: each is due a µs after the previous one, the last one now. `prefix` is the lane's prefix;
-- `moment` and `reach` are in µs.
local function draw_in(keys, prefix, moment, reach)
  local ready, gone, stand, looks, full, more = {{}, {}, {}, {}}, {}, {}, {}, {}, false

  local function within(band, offset)
    local low, high = '(' .. int(moment - offset), int(reach - offset)
    local found = redis.call('ZRANGEBYSCORE', keys.ready[band], low, high, 'WITHSCORES', 'LIMIT', 0, DRAWN)
    if #found == 2 * DRAWN then more = true end
    return found
  end

  for band = 1, 4 do
    local line = ready[band]
    local plain = within(band, 0)
    for i = 1, #plain, 2 do
      line[#line + 1], line[#line + 2] = int(moment - (#plain - i - 1) / 2), plain[i]
    end
    local grouped, ids = within(band, GROUPED), {}
    for i = 1, #grouped, 2 do ids[#ids + 1] = grouped[i] end
    local metas = #ids > 0 and redis.call('HMGET', prefix .. 'meta', unpack(ids)) or {}
    for i = 1, #ids do
      local group = metas[i] and meta_field(metas[i], 'g')
      if group then
        local at, key = moment - (#ids - i), int(band - 1) .. group
        gone[#gone + 1] = key .. '\0' .. string.format('%016.0f', ungrouped(grouped[2 * i])) .. '\0' .. ids[i]
        stand[#stand + 1], stand[#stand + 2] = '0', key .. '\0' .. string.format('%016.0f', at) .. '\0' .. ids[i]
        line[#line + 1], line[#line + 2] = grouped_score(at), ids[i]
        looks[key] = true
      end
    end
  end

  local later = redis.call('ZRANGEBYSCORE', keys.gdue, '(' .. int(moment), '+inf', 'LIMIT', 0, DRAWN)
  if #later == DRAWN then more = true end
  for i = 1, #later do looks[later[i]] = true end

  local all = limits_of(redis.call('HGET', prefix .. 'conf', 'limit:*'))
  local buckets = redis.call('ZREVRANGEBYSCORE', keys.rates, '+inf', '(' .. int(moment), 'WITHSCORES', 'LIMIT', 0, DRAWN)
  for i = 1, #buckets, 2 do
    local name = buckets[i]
    local set = redis.call('HGET', prefix .. 'conf', name == '' and 'limit' or 'limit:' .. name)
    local limits = limits_of(set, name ~= '' and all or nil)
    local empty = moment + limits.burst * limits.every
    if tonumber(buckets[i + 1]) > empty then full[#full + 1], full[#full + 2] = string.format('%.3f', empty), name end
  end
  if #full == 2 * DRAWN then more = true end

  local function write()
    for band = 1, 4 do
      if #ready[band] > 0 then redis.call('ZADD', keys.ready[band], unpack(ready[band])) end
    end
    for i = 1, #gone, DRAWN do
      redis.call('ZREM', keys.grouped, unpack(gone, i, math.min(i + DRAWN - 1, #gone)))
      redis.call('ZADD', keys.grouped, unpack(stand, 2 * i - 1, math.min(2 * (i + DRAWN - 1), #stand)))
    end
    for key in pairs(looks) do redis.call('ZADD', keys.gdue, int(moment), key) end
    if #full > 0 then redis.call('ZADD', keys.rates, unpack(full)) end
  end

  local any = next(looks) ~= nil or #full > 0
  for band = 1, 4 do any = any or #ready[band] > 0 end
  return {any = any, more = more, write = write}
end
