-- The one reader of limits. `conf` keeps a limit as a line of words, one per field: "most every burst weight rate" (in
-- Python: model/limit.py). `most` jobs run at once; a token falls each `every` µs into a bucket that holds `burst`. 0 is
-- no limit; - is not set, and then the limit of all groups (*) holds.
local NO_LIMIT = {most = 0, every = 0, burst = 1, weight = 1}

-- `line` as HGET answers it; `all` is the limit of all groups, if it counts.
local function limits_of(line, all)
  all = all or NO_LIMIT
  if not line then return all end
  local most, every, burst, weight = string.match(line, '^(%S+) (%S+) (%S+) (%S+)')
  local limits = {most = tonumber(most) or all.most, every = all.every, burst = all.burst, weight = tonumber(weight) or all.weight}
  if tonumber(every) then limits.every, limits.burst = tonumber(every), tonumber(burst) or 1 end
  return limits
end

-- A limit after a change, which is a line too: = keeps a word, - unsets it. Words behind those of the change are of a later
-- revision, and stay. Empty where nothing is set any more.
local function changed_limit(line, change)
  local words, at = {}, 0
  for word in string.gmatch(line or '', '%S+') do words[#words + 1] = word end
  for word in string.gmatch(change, '%S+') do
    at = at + 1
    words[at] = word == '=' and (words[at] or '-') or word
  end
  local new = table.concat(words, ' ')
  return string.match(new, '^[- ]*$') and '' or new
end

-- How many jobs of a group run.
local function running_of(held, group)
  return redis.call('ZLEXCOUNT', held, '[' .. group .. '\0', '(' .. group .. '\1')
end

-- Room for how many more jobs under a limit. `full` is the moment at which the bucket of tokens is full again, `why` what the
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

-- The room of a group.
local function group_room(limits, held, rates, group, at)
  local running = limits.most > 0 and running_of(held, group) or 0
  return room_of(limits, running, limits.every > 0 and redis.call('ZSCORE', rates, group), at)
end

-- When there is a token again, after so many more have started.
local function token_after(space, started)
  return math.ceil(space.full + (started - space.burst + 1) * space.every)
end

-- When to look for it. Not at each token where the bucket holds what comes meanwhile: all idle children look at that time.
local function look_after(space, started, at)
  return math.ceil(math.max(token_after(space, started), at + math.min(10000, (space.burst - 1) * space.every)))
end
