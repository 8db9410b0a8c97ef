-- The only reader of limits. `conf` stores a limit as a line of words, one per field: "most every burst weight rate" (in
-- Python: model/limits.py). `most` jobs run at once. One token per `every` µs goes into a bucket that holds `burst`. The
-- value 0 means no limit. A - means not set, and then the limit of all groups (*) applies.
local NO_LIMIT = {most = 0, every = 0, burst = 1, weight = 1}

-- `line` is the reply of HGET; `all` is the limit of all groups, if it applies.
local function limits_of(line, all)
  all = all or NO_LIMIT
  if not line then return all end
  local most, every, burst, weight = string.match(line, '^(%S+) (%S+) (%S+) (%S+)')
  local limits = {most = tonumber(most) or all.most, every = all.every, burst = all.burst, weight = tonumber(weight) or all.weight}
  if tonumber(every) then limits.every, limits.burst = tonumber(every), tonumber(burst) or 1 end
  return limits
end

-- A limit after a change, which is a line too: = keeps a word, - unsets it. Words after those of the change are from a later
-- revision, and stay. Empty if nothing is set any more.
local function changed_limit(line, change)
  local words, place = {}, 0
  for word in string.gmatch(line or '', '%S+') do words[#words + 1] = word end
  for word in string.gmatch(change, '%S+') do
    place = place + 1
    words[place] = word == '=' and (words[place] or '-') or word
  end
  local new = table.concat(words, ' ')
  return string.match(new, '^[- ]*$') and '' or new
end

-- The number of running jobs of a group.
local function running_of(held, group)
  return redis.call('ZLEXCOUNT', held, '[' .. group .. '\0', '(' .. group .. '\1')
end

-- The room for more jobs under a limit. `full` is the time at which the bucket of tokens is full again, `why` what limits
-- the room: full (too many run) or rate (no token is left).
local function room_of(limits, running, full, moment)
  local space = {most = 1000000, every = limits.every, burst = limits.burst}
  if limits.most > 0 then space.most, space.why = math.max(0, limits.most - running), 'full' end
  if limits.every > 0 then
    space.full = math.max(tonumber(full or '0'), moment)
    -- No bucket is emptier than empty. It would be so after its rate was raised, which the caller corrects (`is_over`).
    local latest = moment + limits.burst * limits.every
    if space.full > latest + 1 then space.full, space.is_over = latest, true end
    local left = math.max(0, math.floor((moment - space.full) / limits.every + limits.burst + 0.000001))
    if left < space.most then space.most, space.why = left, 'rate' end
  end
  return space
end

-- The room of a group.
local function group_room(limits, held, rates, group, moment)
  local running = limits.most > 0 and running_of(held, group) or 0
  return room_of(limits, running, limits.every > 0 and redis.call('ZSCORE', rates, group), moment)
end

-- The time of the next token, after a number of starts.
local function token_after(space, started)
  return math.ceil(space.full + (started - space.burst + 1) * space.every)
end

-- The time of the next check. Not each token needs one, if the bucket holds several: all idle children wake at that time.
local function look_after(space, started, moment)
  return math.ceil(math.max(token_after(space, started), moment + math.min(10000, (space.burst - 1) * space.every)))
end
