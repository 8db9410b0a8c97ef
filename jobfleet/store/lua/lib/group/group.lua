-- @include lib/base/number

-- Waiting jobs of groups. `grouped` has "band group\0due\0id" for each, all at score 0: the jobs of a group are adjacent,
-- by due time. `gdue` has "band group" by the time of the next check of its turn. An entry is a hint for claim, and a
-- superfluous one costs one check. `ring` has groups that take turns, and groups that rest (lib/group/rest.lua). Strict
-- sequences have entries of their own in `grouped` (lib/group/sequence.lua).
-- @include lib/group/level
-- @include lib/waiting/score

-- Collects a script's changes; created for the first job of a group, because creating functions takes time.
local function new_groups(keys)
-- @include lib/group/rest
  local stand, gone, turns, left, slots, holders = {}, {}, {}, {}, {}, {}

  local last_due, digits, below  -- many have the same due time

  local function entry_of(key, due, id)
    if due ~= last_due then last_due, digits, below = due, string.format('%016.0f', due), grouped_score(due) end
    return key .. '\0' .. digits .. '\0' .. id
  end

  -- A job of a group waits and is due at `due`; returns its score in its band.
  local function waits(group, band, due, id)
    local key = band .. group
    local n, turn = #stand, turns[key]
    stand[n + 1], stand[n + 2] = '0', entry_of(key, due, id)
    if not turn or due < turn then turns[key] = due end
    return below
  end

  -- A job of a group that waited at `score` no longer waits.
  local function leaves(group, band, score, id)
    gone[#gone + 1] = entry_of(band .. group, ungrouped(score), id)
    left[band .. group] = true
  end

  -- A run of a group's job is over. `wakes`: limits are set, so the group may have rested for lack of the slot.
  local function freed(group, id, wakes)
    slots[#slots + 1] = group .. '\0' .. id
    if wakes then holders[group] = true end
  end

  -- Writes the changes; returns whether a resting group takes turns again.
  local function write(now)
    local woken = false
    if #gone > 0 then redis.call('ZREM', keys.grouped, unpack(gone)) end
    if #stand > 0 then redis.call('ZADD', keys.grouped, unpack(stand)) end
    if #slots > 0 then redis.call('ZREM', keys.held, unpack(slots)) end
    for group in pairs(holders) do
      for band = 0, 3 do
        local place = redis.call('ZSCORE', keys.ring, band .. group)
        if place and rests(place) then turns[band .. group], woken = now, true end
      end
    end
    local looks, n, last, text = {}, 0, nil, nil
    for key, due in pairs(turns) do
      if due ~= last then last, text = due, int(due) end
      looks[n + 1], looks[n + 2] = text, key
      n = n + 2
    end
    if #looks > 0 then redis.call('ZADD', keys.gdue, 'LT', unpack(looks)) end
    if next(left) then level(keys.grouped) end
    for key in pairs(left) do
      local first = turns[key] or redis.call('ZRANGEBYLEX', keys.grouped, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 1)[1]
      if not first then
        redis.call('ZREM', keys.ring, key)
        redis.call('ZREM', keys.gdue, key)
      end
    end
    return woken
  end

  return {waits = waits, leaves = leaves, freed = freed, write = write, stand = stand, gone = gone}
end
