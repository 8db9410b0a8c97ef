-- @include lib/base/number
-- @include lib/base/meta
-- @include lib/waiting/bounds
-- @include lib/group/sequence

local LIKELY = {2, 1, 0, 3}  -- the bands; most jobs are NORMAL

-- Jobs of sequences have ended: they lose their places, and where that was the head, the next one becomes the head.
-- `ended` has items with id, meta and is_failure; `let_wait(item, band, due)` lets the next head wait in its group.
local function advance(ended, groups, bound, prefix, now, let_wait)
  local gone, stays = groups.gone, groups.stand
  level(bound.grouped)
  local sequences = {}

  for i = 1, #ended do
    local item = ended[i]
    local group, place = meta_field(item.meta, 'g'), place_of(item.meta)
    if group and place then
      local one = sequences[group]
      if not one then
        one = {ids = {}, head = head_of(bound.grouped, group)}
        sequences[group] = one
      end
      one.ids[item.id] = true
      if one.head == item.id then one.over = item end
      gone[#gone + 1] = sequence_entry('s', group, place, item.id)
    end
  end

  -- The first job that stays, with its band and its score. Entries without a job are dropped, however many a foreign
  -- client has written: at once, page by page, because a command takes only so many.
  local function first_of(group, over)
    local from, page = '[s' .. group .. '\0', 2  -- mostly the job that has ended, and the next one
    while true do
      local found = redis.call('ZRANGEBYLEX', bound.grouped, from, '(s' .. group .. '\1', 'LIMIT', 0, page)
      local met, entries = {}, {}
      for i = 1, #found do
        local id = string.sub(found[i], #group + 20)
        if not over[id] then met[#met + 1], entries[#entries + 1] = id, found[i] end
      end
      local first, band, score = #met + 1, nil, nil
      for n = 1, #met > 0 and 4 or 0 do
        local scores = first > 1 and redis.call('ZMSCORE', bound['ready' .. LIKELY[n]], unpack(met, 1, first - 1)) or {}
        for i = 1, #scores do
          if scores[i] then
            first, band, score = i, LIKELY[n], scores[i]
            break
          end
        end
      end
      if first > 1 then redis.call('ZREM', bound.grouped, unpack(entries, 1, first - 1)) end
      if band then return met[first], band, score end
      if #found < page then return nil end
      from, page = '(' .. found[#found], page == 2 and 50 or 500
    end
  end

  local function go_on(group, one)
    gone[#gone + 1] = one.head and 'h' .. group .. '\0' .. one.head
    local id, band, score = first_of(group, one.ids)
    if not id then return end
    local place = #stays
    stays[place + 1], stays[place + 2] = '0', 'h' .. group .. '\0' .. id
    local open = tonumber(redis.call('HGET', prefix .. 'parents:' .. id, ':open') or '0') or 0
    if is_blocked(score) and open == 0 then
      local meta = redis.call('HGET', bound.meta, id) or ''
      local _, due = place_of(meta)
      let_wait({id = id, meta = meta}, band, due or now)
    end
  end

  for group, one in pairs(sequences) do
    local policy = one.over and one.over.is_failure and string.match(one.over.meta, '\no (%a)')
    local failing = not one.over and first_in(bound.grouped, 'f', group)
    if policy == 'f' and first_of(group, one.ids) then
      local place = #stays
      stays[place + 1], stays[place + 2] = '0', sequence_entry('f', group, last_place(bound.grouped, group), one.head)
    elseif one.over and policy ~= 'p' then
      go_on(group, one)
    elseif failing then
      local id = first_of(group, one.ids)
      local place = id and place_of(redis.call('HGET', bound.meta, id) or '')
      if not place or tonumber(place) > (tonumber(string.sub(failing, 1, 16)) or 0) then
        gone[#gone + 1] = 'f' .. group .. '\0' .. failing
        go_on(group, one)
      end
    end
  end
end
