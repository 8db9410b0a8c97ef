-- mend: move keys of a wrong type, unreadable fields of small hashes, and streams that cannot go on, aside, for a while.
--
-- KEYS    1..* job:<id> any     three keys per item: any key, such as job:<id>, its new place aside:job:<id>, what refers to job:<id>
-- ARGV    1 ttl         int     ms for which it is stored
--         2..* item     bytes   four per item: type the key must have, a field, its value, and the value to set instead
-- FLAGS   allow-oom
-- RETURNS {"mended", letters}   m moved aside, n no longer damaged
-- EMITS   -
-- COST    O(items + entries of the streams)
-- @include lib/base/clock
-- @include lib/base/number

-- For a whole key the last three are empty. For a stream they are how its entries are numbered, its last id and the highest id
-- to keep, and its third key is the hash that refers to its entries: totals to those of the journal, dead to those of dlq.
local KEYS, ARGV = KEYS, ARGV  -- locals are faster in a loop
local PAGE, MOST, WIDEST, APART = 1000, 200000, 7000, 100
local ttl, letters = ARGV[1], {}

local function facts_of(row)
  local facts = {}
  for k = 1, #row, 2 do facts[row[k]] = row[k + 1] end
  return facts
end

local function time_of(entry) return tonumber(string.match(entry, '^%d+')) end

local function last_of(key)
  local facts = redis.pcall('XINFO', 'STREAM', key)
  return not facts.err and facts_of(facts)['last-generated-id']
end

-- The place of a group in a copy of its stream: before the oldest entry that it has not acknowledged.
local function place_of(key, group)
  local first = group.pending > 0 and redis.call('XPENDING', key, group.name)[2]
  if not first then return group['last-delivered-id'] end
  local ms, seq = string.match(first, '^(%d+)-(%d+)$')
  if seq ~= '0' and tonumber(seq) < 9e15 then return ms .. '-' .. int(tonumber(seq) - 1) end
  return int(math.max(0, tonumber(ms) - 1)) .. '-18446744073709551615'
end

-- A stream whose last id is beyond all times: no id follows it, or none that tells a time. Its last id cannot be lowered, so it
-- is copied: entries keep their ids up to `bound`, and those beyond get new ones, as time or numbers of events go on. `number`:
-- a journal, whose counter is in `refers`; `time`: an entry may be named in `refers`; `drop`: nothing can follow.
local function copied(key, aside, refers, kind, bound)
  local expires, groups, starts = redis.call('PTTL', key), redis.call('XINFO', 'GROUPS', key), {}
  for i = 1, #groups do
    groups[i] = facts_of(groups[i])
    starts[i] = place_of(key, groups[i])
  end
  redis.call('RENAME', key, aside)
  local from, top, beyond, count, is_whole = '-', '0-0', {}, 0, true
  repeat
    local page = redis.pcall('XRANGE', aside, from, '+', 'COUNT', PAGE)  -- no range begins after the very last id
    for i = 1, page.err and 0 or #page do
      local entry, fields = page[i][1], page[i][2]
      if #fields > WIDEST then
        is_whole = false
      elseif time_of(entry) > bound then
        beyond[#beyond + 1] = page[i]
      else
        redis.call('XADD', key, entry, unpack(fields))
        top = entry
      end
      from = '(' .. entry
    end
    count = count + (page.err and 0 or #page)
    local is_last = page.err or #page < PAGE
    is_whole = is_whole and (is_last or count < MOST)
  until is_last or count >= MOST
  for i = 1, #groups do
    local start = time_of(starts[i]) > bound and top or starts[i]
    redis.call('XGROUP', 'CREATE', key, groups[i].name, start, 'MKSTREAM')
  end
  local number
  if kind == 'number' then
    number = tonumber(redis.call('HGET', refers, 'journal') or '') or 0
    if number > bound or number < time_of(top) then number = time_of(top) end
    if number == 0 then
      number = now_us()
      redis.call('HSET', refers, 'journal_low', int(number))
    end
  end
  for i = 1, kind == 'drop' and 0 or #beyond do
    local old, fields = beyond[i][1], beyond[i][2]
    if number then number = number + APART end
    local new = redis.call('XADD', key, number and int(number) .. '-0' or '*', unpack(fields))
    local id = not number and refers ~= key and facts_of(fields).id
    if id and redis.call('HGET', refers, id) == old then redis.call('HSET', refers, id, new) end
  end
  if number then redis.call('HSET', refers, 'journal', int(number)) end
  if expires > 0 then redis.call('PEXPIRE', key, expires) end
  if is_whole then redis.call('UNLINK', aside) end
  return count, #beyond, is_whole
end

for i = 1, (#ARGV - 1) / 4 do
  local key, aside, refers = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local at = 4 * i - 2
  local kind, field, value, instead = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local is = redis.call('TYPE', key).ok
  letters[i] = 'n'
  if is ~= 'none' and is ~= kind then
    redis.call('RENAME', key, aside)
    letters[i] = 'm'
  elseif is == 'stream' and value ~= '' and last_of(key) == value then
    local count, moved, is_whole = copied(key, aside, refers, field, tonumber(instead))
    if is_whole then
      redis.call('XADD', aside, '*', 'ended', value, 'entries', count, field == 'drop' and 'dropped' or 'renumbered', moved)
    end
    letters[i] = 'm'
  elseif kind == 'hash' and (value ~= '' or instead ~= '') and (redis.call('HGET', key, field) or '') == value then
    if value ~= '' then
      redis.call('HDEL', key, field)
      if redis.call('TYPE', aside).ok ~= 'hash' then redis.call('UNLINK', aside) end
      redis.call('HSET', aside, field, value)
    end
    if instead ~= '' then redis.call('HSET', key, field, instead) end
    letters[i] = 'm'
  end
  if letters[i] == 'm' then redis.call('PEXPIRE', aside, ttl) end
end

return {'mended', table.concat(letters)}
