-- Limits as the operator set them, in `conf`: "most every burst weight text": `most` jobs at once; a token each `every` µs,
-- `burst` of them at most. 0 is no limit; - is not set, and then what stands for all groups (*) holds.
local function limits_of(set, all)
  local most, every, burst, weight = string.match(set or '', '^(%S+) (%S+) (%S+) (%S+)')
  local most_all, every_all, burst_all, weight_all = string.match(all or '', '^(%S+) (%S+) (%S+) (%S+)')
  if not tonumber(every) then every, burst = every_all, burst_all end
  return {
    most = tonumber(most) or tonumber(most_all) or 0, every = tonumber(every) or 0, burst = tonumber(burst) or 1,
    weight = tonumber(weight) or tonumber(weight_all) or 1,
  }
end

-- How many jobs of a group run.
local function running_of(held, group)
  return redis.call('ZLEXCOUNT', held, '[' .. group .. '\0', '(' .. group .. '\1')
end

-- Room for how many more jobs under limits. `full` is the moment at which the bucket of tokens is full again, `why` what the
-- room ends at: full (too many run) or rate (no token is left).
local function room_of(limits, running, full, at)
  local space = {most = 1000000, every = limits.every, burst = limits.burst}
  if limits.most > 0 then space.most, space.why = math.max(0, limits.most - running), 'full' end
  if limits.every > 0 then
    space.full = math.max(tonumber(full or '0'), at)
    local tokens = math.max(0, math.floor((at - space.full) / limits.every + limits.burst + 0.000001))
    if tokens < space.most then space.most, space.why = tokens, 'rate' end
  end
  return space
end

-- When there is a token again, after so many more have started.
local function token_after(space, started)
  return math.ceil(space.full + (started - space.burst + 1) * space.every)
end

-- When to look for it. Not at each token where the bucket holds what comes meanwhile: all idle children look at that time.
local function look_after(space, started, at)
  return math.ceil(math.max(token_after(space, started), at + math.min(10000, (space.burst - 1) * space.every)))
end
