-- @include lib/waiting/bounds
-- Jobs that a claim leaves to others: their functions are unknown to the claiming child but known to other live workers.
-- `list` names these functions, one line each: the name, then for each kind of worker that knows it the number in KEYS of
-- the marker on which its children block, or =n if the claim may take n of its jobs (docs/adr/0059). A claim checks at
-- most LOOKS jobs. If that is not enough, `past` says how far it came, and the next claim continues there: "p band score
-- ties" for the plain jobs of a band, of which `ties` at that score were skipped, and "r band n" for the groups, of which
-- n in the order of their turns were skipped.
local LOOKS, HEAD = 200, 159

-- The function in the head of an envelope (codec/frames.py: a map, and its first key); nil if it cannot
-- be read, which the claiming child must report.
local function function_of(head)
  local at_byte, sub = string.byte, string.sub
  local map = at_byte(head, 7) or 0
  local at = map >= 128 and map < 144 and 8 or map == 222 and 10
  if not at or sub(head, 1, 2) ~= '\1\0' or sub(head, at, at + 8) ~= '\168function' then return nil end
  local kind, from, size = at_byte(head, at + 9) or 0, at + 10, nil
  if kind >= 160 and kind < 192 then
    size = kind - 160
  elseif kind == 217 then
    size, from = at_byte(head, from), from + 1
  end
  local name = size and sub(head, from, from + size - 1)
  return name and #name == size and name or nil
end

-- `prefix`, `moment` and `keys` come from the claim: the lane's prefix, µs, and its KEYS.
local function foreign_jobs(prefix, moment, keys, list, past)
  local looks, passed, is_short = LOOKS, 0, false
  local lines, markers, marks, offsets, befores = {}, {}, {}, {}, {}
  for band, score, ties in string.gmatch(past, 'p (%d) (%d+) (%d+)') do
    marks[tonumber(band) + 1] = {score = score, ties = tonumber(ties)}
  end
  for band, n in string.gmatch(past, 'r (%d) (%d+)') do offsets[tonumber(band) + 1] = tonumber(n) end

  -- The markers of the kinds that know the job's function; false for a job to claim here.
  local function line_of(id)
    local head = redis.pcall('GETRANGE', prefix .. 'job:' .. id, '0', HEAD)
    local name = type(head) == 'string' and function_of(head)
    if not name then return false end
    local line = lines[name]
    if line == nil then
      local _, at = string.find(list, '\n' .. name .. ' ', 1, true)
      line = at and string.match(list, '^[^\n]*', at + 1) or false
      lines[name] = line
    end
    local share = line and tonumber(string.match(line, '^=(%d+)'))
    if share then
      line = share == 0 and ''
      if share > 0 then lines[name] = '=' .. share - 1 end
    end
    return line
  end

  -- Whether a job is left to others; call `has_looks` first.
  local function is_left(id)
    looks = looks - 1
    local line = line_of(id)
    if not line then return false end
    passed = passed + 1
    for number in string.gmatch(line, '%d+') do markers[tonumber(number)] = true end
    return true
  end

  local function has_looks()
    if looks <= 0 then is_short = true end
    return looks > 0
  end

  -- Up to `most` plain jobs of a band (1 to 4) that are due and not left, each with its score, alternating.
  local function plain(band, most)
    local own, n, mark, key = {}, 0, marks[band], keys[band]
    local rank = redis.call('ZCOUNT', key, '-inf', '(' .. (mark and mark.score or FIRST_PLAIN))
    if mark then rank = rank + mark.ties end
    local score, ties = mark and mark.score or '', mark and mark.ties or 0
    local before, step, is_over = {}, math.min(most + 8, LOOKS), false
    while n < most and not is_over and has_looks() do
      local found = redis.call('ZRANGE', key, string.format('%.0f', rank), string.format('%.0f', rank + step - 1), 'WITHSCORES')
      is_over = #found < 2 * step
      for at = 1, #found, 2 do
        if tonumber(found[at + 1]) > moment then
          is_over = true
          break
        end
        if n == most or looks <= 0 then break end
        rank = rank + 1
        if is_left(found[at]) then
          ties = found[at + 1] == score and ties + 1 or 1
          score = found[at + 1]
        else
          n = n + 1
          own[2 * n - 1], own[2 * n] = found[at], found[at + 1]
          before[n] = {score = score, ties = ties}
        end
      end
    end
    befores[band] = before
    if mark or is_short then marks[band] = {score = score, ties = ties} end
    return own
  end

  -- Records how many plain jobs of a band were taken; the next claim checks those after them.
  local function took(band, jobs)
    local before = befores[band] and befores[band][jobs + 1]
    if before and marks[band] then marks[band] = before end
  end

  -- Passes the wake-up on to the kinds that know the jobs that were left.
  local function hand_on()
    for number in pairs(markers) do
      if redis.call('ZADD', keys[number], '0', 'w') == 1 then redis.call('PEXPIRE', keys[number], '3600000') end
    end
  end

  -- "1" if the checks ran out, the number of jobs that were left, and how far this claim came.
  local function progress()
    local parts = {is_short and '1' or '0', string.format('%.0f', passed)}
    for band = 1, 4 do
      local mark = marks[band]
      if mark and mark.score ~= '' then
        parts[#parts + 1] = 'p ' .. band - 1 .. ' ' .. mark.score .. ' ' .. string.format('%.0f', mark.ties)
      end
      if offsets[band] then parts[#parts + 1] = 'r ' .. band - 1 .. ' ' .. string.format('%.0f', offsets[band]) end
    end
    return table.concat(parts, ' ')
  end

  return {
    plain = plain, took = took, is_left = is_left, has_looks = has_looks, hand_on = hand_on, progress = progress, offsets = offsets,
    ran_out = function() is_short = true end,
  }
end
