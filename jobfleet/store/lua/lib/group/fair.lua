-- @include lib/base/number
-- @include lib/waiting/bounds
-- @include lib/base/wide
-- @include lib/group/level
-- @include lib/group/limit
-- @include lib/group/rest
-- @include lib/group/turn

-- Fair share: each slot goes to the group with the least virtual time of its band; the plain jobs together count as one
-- group. A new group starts at the band's clock, or at its own time if that is later. With each job the clock advances by
-- the job's cost over the number of groups that take turns, like the mean of their times. Therefore even an endless
-- stream of new groups does not keep an old one waiting for ever.

-- A job costs UNIT / weight. LOOKS limits the groups that one claim checks; PASSED limits the jobs of one group that it
-- leaves to others in a row.
local UNIT, LOOKS, PASSED = 1000, 50, 50
local call, sub = redis.call, string.sub  -- locals are faster in a loop

-- The position of a group among others, ordered by virtual time; a later group follows its equals.
local function line_up(line, from, one)
  local at = #line + 1
  while at > from and line[at - 1].v > one.v do
    line[at] = line[at - 1]
    at = at - 1
  end
  line[at] = one
end

-- A group that takes its turn, with all its fields from the start, because a growing table is reallocated. `jobs` is false
-- until its turn comes.
local function new_turn(key, v)
  return {key = key, v = v, at = 1, jobs = false, want = 0}
end

-- The next entry of a group that was not taken yet, and its due time as sixteen digits. A foreign entry is checked only
-- if it would not be due by `latest`: the next claim takes it, and its child reports it.
local function next_entry(grouped, one, want, latest)
  local key, jobs, at = one.key, one.jobs, one.at
  local entry = jobs and jobs[at]
  -- A list that is shorter than requested is the last one.
  if not entry and (not jobs or at > one.want) then
    local from = jobs and '(' .. jobs[at - 1] or '[' .. key .. '\0'
    jobs, at = call('ZRANGEBYLEX', grouped, from, '(' .. key .. '\1', 'LIMIT', '0', want), 1
    one.jobs, one.at, one.want, entry = jobs, at, want, jobs[1]
  end
  if entry then
    local due = sub(entry, #key + 2, #key + 17)
    return entry, (due <= latest or tonumber(due)) and due or '0000000000000000'
  end
end

-- `prefix`, `moment`, `moment_text` and `others` come from the claim: the lane's prefix, µs as a number and as
-- text, and the jobs that it leaves to others (nil for none).
local function fair_share(keys, is_set, prefix, moment, moment_text, others)
  local all = is_set and limits_of(call('HGET', prefix .. 'conf', 'limit:*'))
  level(keys.grouped)
  if is_set then level(keys.held) end
  local looked = call('ZRANGEBYSCORE', keys.gdue, '-inf', moment_text, 'LIMIT', 0, LOOKS)
  local places = #looked > 0 and call('ZMSCORE', keys.ring, unpack(looked)) or {}
  local clocks = call('HMGET', prefix .. 'lane', 'fair:0', 'fair:1', 'fair:2', 'fair:3')
  local outcome, held, entries = {more = #looked == LOOKS}, {}, {}
  local free, latest = {most = 1000000, step = UNIT, taken = 0}, string.format('%016.0f', moment)
  local known, ring, drop, later, marks, visited, rates = {}, {}, {}, {}, {}, {}, {}

  local function clock_of(band)
    local clock, plain = string.match(clocks[band + 1] or '', '^(%S+) (%S+)$')
    return tonumber(clock or '0'), tonumber(plain or '0')
  end

  -- The limits of a group: room for how many more jobs, and the reason for no more room.
  local function state_of(one)
    if not is_set then return free end
    local name = sub(one.key, 2)
    local state = known[name]
    if state then return state end
    local set = call('HMGET', prefix .. 'conf', 'limit:' .. name, 'paused:' .. name)
    local limits = limits_of(set[1], all)
    state = group_room(limits, keys.held, keys.rates, name, moment)
    state.step, state.taken = math.max(1, math.floor(UNIT / limits.weight + 0.5)), 0
    if set[2] then state.most, state.why = 0, 'paused' end
    known[name] = state
    return state
  end

  -- Groups of a band that have become due but do not take turns yet, with their virtual time.
  local function joining(band, clock)
    local found = {}
    for i = 1, #looked do
      if string.byte(looked[i]) == 48 + band and not (places[i] and not rests(places[i])) then
        local kept = places[i] and tonumber(places[i]) - REST - SPAN * band or 0
        found[#found + 1] = new_turn(looked[i], math.floor(math.max(kept, clock)))
      end
    end
    return found
  end

  local placed, last_place, place_text = 0, nil, nil  -- many have the same place, and to print a number is expensive

  local function put(band, one, is_resting)
    local place = (is_resting and REST or 0) + SPAN * band + one.v
    if place ~= last_place then last_place, place_text = place, int(place) end
    ring[placed + 1], ring[placed + 2] = place_text, one.key
    placed = placed + 2
  end

  local function look_again(key, at)
    later[#later + 1], later[#later + 2] = int(at), key
    if not outcome.soonest or at < outcome.soonest then outcome.soonest = at end
  end

  -- Updates a group after its turn. `is_full`: the claim had no more room.
  local function settle_turn(band, one, is_full)
    local entry, due = next_entry(keys.grouped, one, 1, latest)
    local state = state_of(one)
    if one.is_passed then  -- a job was left to others: the group keeps its turn
      put(band, one, state.most <= 0)
      if state.most > 0 then
        outcome.more = outcome.more or is_full and entry ~= nil and due <= latest
      elseif state.why == 'rate' then
        look_again(one.key, look_after(state, state.taken, moment))
      end
    elseif not entry then
      drop[#drop + 1] = one.key
    elseif due > latest then
      put(band, one, true)
      look_again(one.key, tonumber(due))
    elseif state.most > 0 then
      put(band, one, false)
      outcome.more = outcome.more or is_full
    else
      put(band, one, true)
      if state.why == 'rate' then look_again(one.key, look_after(state, state.taken, moment)) end
    end
  end

  local function heads(band, line, from, skip, limited)
    local low, high = turns_in(band)
    local found = call('ZRANGEBYSCORE', keys.ring, low, high, 'WITHSCORES', 'LIMIT', skip, limited)
    local place, v  -- many have the same virtual time
    for i = 1, #found, 2 do
      if found[i + 1] ~= place then place, v = found[i + 1], tonumber(found[i + 1]) - SPAN * band end
      line_up(line, from, new_turn(found[i], v))
    end
    return #found / 2
  end

  -- Up to `most` jobs of a band, one by one: pick(id, due).
  local function take(band, most, pick)
    visited[band + 1] = true
    local clock, plain_v = clock_of(band)
    local line, at, touched, grouped = {}, 1, {}, keys.grouped
    local skip = others and others.offsets[band + 1] or 0
    local seen = heads(band, line, at, skip, most + 1)
    local beyond, fresh = seen > most, joining(band, clock)
    for i = 1, #fresh do line_up(line, at, fresh[i]) end
    local plain = others and others.plain(band + 1, most + 1)
      or call('ZRANGEBYSCORE', keys['ready' .. band], FIRST_PLAIN, moment_text, 'WITHSCORES', 'LIMIT', 0, most + 1)
    if seen == 0 and #fresh == 0 and not plain[1] then
      if others then others.offsets[band + 1] = nil end
      return
    end
    local rest = {plain = true, v = math.floor(math.max(plain_v, clock)), at = 1}
    if plain[1] then line_up(line, at, rest) end
    local low, high = turns_in(band)
    local crowd = math.max(1, call('ZCOUNT', keys.ring, low, high) + #fresh + (plain[1] and 1 or 0))
    local want = math.ceil(most / math.max(1, #line)) + 1
    local left = most
    while left > 0 do
      local one = line[at]
      if not one then
        if not beyond or seen >= 2 * LOOKS then break end
        local further = heads(band, line, at, skip + seen, LOOKS)
        beyond, seen = further == LOOKS, seen + further
      else
        at = at + 1
        local id, due, step
        if one.plain then
          id, due, step = plain[2 * one.at - 1], plain[2 * one.at], UNIT
        else
          if one.jobs == false then
            one.jobs = nil
            touched[#touched + 1] = one
          end
          local state = state_of(one)
          local entry
          if state.most > 0 then entry, due = next_entry(grouped, one, want, latest) end
          local skipped = 0
          while others and entry and due <= latest do
            if skipped == PASSED or not others.has_looks() then
              one.is_passed, entry = true, nil
            elseif others.is_left(sub(entry, #one.key + 19)) then
              skipped, one.at, one.is_passed = skipped + 1, one.at + 1, true
              entry, due = next_entry(grouped, one, PASSED, latest)
            else
              break
            end
          end
          if entry and due <= latest then
            local key, n = one.key, #entries + 1
            id, step = sub(entry, #key + 19), state.step
            state.most, state.taken = state.most - 1, state.taken + 1
            held[2 * n - 1], held[2 * n], entries[n] = '0', sub(key, 2) .. '\0' .. id, entry
          end
        end
        if id then
          pick(id, due, not one.plain)
          local v = one.v
          clock = clock + step / crowd
          if clock < v then clock = v end
          one.v, one.at, left = v + step, one.at + 1, left - 1
          line_up(line, at, one)
        end
      end
    end
    if others then
      others.took(band + 1, rest.at - 1)
      local reached = beyond and seen or math.max(1, #touched - 1)
      if left > 0 and beyond then others.ran_out() end
      others.offsets[band + 1] = left > 0 and (beyond or not others.has_looks()) and skip + reached or nil
    end
    if beyond and (left == 0 or not others) or plain[2 * rest.at - 1] then outcome.more = true end
    for i = 1, #touched do settle_turn(band, touched[i], left == 0 or not others) end
    for i = at, #line do
      if line[i].jobs == false then outcome.more = true end
    end
    for i = 1, #fresh do
      if fresh[i].jobs == false then put(band, fresh[i], false) end
    end
    if seen > 0 or #fresh > 0 then
      marks[#marks + 1], marks[#marks + 2] = 'fair:' .. band, string.format('%.3f', clock) .. ' ' .. int(rest.v)
    end
  end

  -- Due time of the first job of the group whose turn it is; nothing if there is none.
  local function first_due(band)
    local low, high = turns_in(band)
    local key = call('ZRANGEBYSCORE', keys.ring, low, high, 'LIMIT', 0, 1)[1] or (joining(band, 0)[1] or {}).key
    local due = key and select(2, next_entry(keys.grouped, new_turn(key, 0), 1, latest))
    return due and tonumber(due)
  end

  -- What remains in bands that were not visited.
  local function rest_of()
    for band = 0, 3 do
      if not visited[band + 1] then
        local clock = clock_of(band)
        local found = joining(band, clock)
        for i = 1, #found do put(band, found[i], false) end
        if not outcome.more then
          local low, high = turns_in(band)
          outcome.more = #found > 0 or call('ZRANGEBYSCORE', keys.ring, low, high, 'LIMIT', 0, 1)[1] ~= nil
        end
      end
    end
    for name, state in pairs(known) do
      if state.full and (state.taken > 0 or state.is_over) then
        rates[#rates + 1] = string.format('%.3f', state.full + state.taken * state.every)
        rates[#rates + 1] = name
      end
    end
  end

  -- Deletes the last entry of a job in a band: it is granted already.
  local function drop_entry(band, id)
    for n = #entries, 1, -1 do
      local entry = entries[n]
      if string.byte(entry) == 48 + band and sub(entry, -#id - 1) == '\0' .. id then
        entries[n] = ''
        return call('ZREM', keys.grouped, entry)
      end
    end
  end

  local function write()
    if #looked > 0 then call('ZREM', keys.gdue, unpack(looked)) end
    if #ring > 0 then add_many(keys.ring, #ring / 2, unpack(ring)) end
    if #drop > 0 then
      call('ZREM', keys.ring, unpack(drop))
      call('ZREM', keys.gdue, unpack(drop))
    end
    if #later > 0 then call('ZADD', keys.gdue, 'LT', unpack(later)) end
    if #entries > 0 then
      call('ZREM', keys.grouped, unpack(entries))
      add_many(keys.held, #entries, unpack(held))
    end
    if #rates > 0 then call('ZADD', keys.rates, unpack(rates)) end
    if call('EXISTS', keys.ring) == 0 then
      call('HDEL', keys.lane, 'fair:0', 'fair:1', 'fair:2', 'fair:3')
    elseif #marks > 0 then
      call('HSET', keys.lane, unpack(marks))
    end
  end

  outcome.take, outcome.first_due, outcome.rest, outcome.drop, outcome.write = take, first_due, rest_of, drop_entry, write
  return outcome
end
