-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/group/level

-- Strict sequences: the jobs of a group with an order. They have entries in `grouped`, at score 0 like those of groups:
--   "s group\0place\0id"  an open job by its place, 16 digits; the places of a group grow, even if the clock steps back
--   "h group\0id"         the head: only this job may start; the others wait in their bands at BLOCKED
--   "f group\0place\0id"  the head has failed, and the jobs up to this place fail because of it
-- (without the space after the letter). A head that is not open any more parks the sequence. The clear record of a
-- job has a line "o policy" (s skip, p park, f fail the rest), and as its last line "n place", with the due time of a
-- job that was not the head when it came and is due later.
local function is_strict(meta)
  return find(meta, '\no ', 1, true) ~= nil
end

local function place_of(meta)
  local place, due = string.match(meta, '\nn (%d+) ?(%d*)')
  return place, tonumber(due)
end

local function sequence_entry(kind, group, place, id)
  return kind .. group .. '\0' .. string.format('%016.0f', tonumber(place)) .. '\0' .. id
end

-- The first entry of a kind, behind the name of the group.
local function first_in(grouped, kind, group)
  local found = redis.call('ZRANGEBYLEX', grouped, '[' .. kind .. group .. '\0', '(' .. kind .. group .. '\1', 'LIMIT', 0, 1)[1]
  return found and string.sub(found, #group + 3)
end

local function head_of(grouped, group)
  return first_in(grouped, 'h', group)
end

-- The last place of a sequence; 0 without a job. Foreign entries without a number sort behind the places.
local function last_place(grouped, group)
  local found = redis.call('ZREVRANGEBYLEX', grouped, '(s' .. group .. '\0:', '[s' .. group .. '\0', 'LIMIT', 0, 1)[1]
  return found and string.match(string.sub(found, #group + 3, #group + 18), '^%d+$') or '0'
end

-- Places for new jobs; `write` stores the entries.
local function new_places(grouped, now)
  level(grouped)
  local states, added = {}, {}

  -- Gives a job the last place; returns its clear record, and whether it is the head.
  local function join(group, meta, id, due)
    local state = states[group]
    if not state then
      state = {has_head = head_of(grouped, group) ~= nil, last = tonumber(last_place(grouped, group))}
      states[group] = state
    end
    local n, is_head = #added, not state.has_head
    state.last, state.has_head = math.max(state.last + 1, now), true
    added[n + 1], added[n + 2] = '0', sequence_entry('s', group, state.last, id)
    if is_head then added[n + 3], added[n + 4] = '0', 'h' .. group .. '\0' .. id end
    return meta .. '\nn ' .. int(state.last) .. (not is_head and due > now and ' ' .. int(due) or ''), is_head
  end

  local function write()
    if #added > 0 then redis.call('ZADD', grouped, unpack(added)) end
  end

  return {join = join, write = write}
end
