-- Dead letters by group, function, tag and free text. `filed` has a member per letter and name: name, entry and id, a line
-- each. Entries are padded, so the members of a name are in the order of the stream. `filing` keeps what is filed of
-- each letter, by its job's id: the entry, then the names, a line each. Its field `mark` has the newest entry that was
-- looked at; later ones are not filed yet.
local NEVER = '0-0'

local function padded(entry)
  local ms, seq = string.match(entry, '^(%d+)%-(%d+)$')
  return string.rep('0', 14 - #ms) .. ms .. '-' .. string.rep('0', 6 - #seq) .. seq
end

-- The mark. Without it, or with a foreign client's text in its place, all letters are looked at again.
local function mark_of(filing)
  local mark = redis.call('HGET', filing, 'mark') or NEVER
  local ms, seq = string.match(mark, '^(%d+)%-(%d+)$')
  return ms and #ms <= 14 and #seq <= 19 and mark or NEVER
end

local function entry_in(member)
  local ms, seq, id = string.match(member, '\n(%d+)%-(%d+)\n([^\n]*)$')
  return ms and #ms + #seq < 42 and string.match(ms, '^0*(%d+)') .. '-' .. string.match(seq, '^0*(%d+)'), id
end

local function add_members(members, id, note)
  local entry, names = string.match(note, '^(%d+%-%d+)(.*)$')
  if not entry then return end
  for name in string.gmatch(names, '\n([^\n]+)') do members[#members + 1] = name .. '\n' .. padded(entry) .. '\n' .. id end
end

-- What is filed of some letters; false for those that are not filed. It reads `filed`, too, so that a key of a wrong
-- type ends the script before it has written anything.
local function notes_of(filed, filing, ids)
  redis.call('ZCARD', filed)
  return #ids > 0 and redis.call('HMGET', filing, unpack(ids)) or {}
end

local function unfile(filed, filing, ids, notes)
  local members, gone = {}, {}
  for i = 1, #ids do
    if notes[i] then
      gone[#gone + 1] = ids[i]
      add_members(members, ids[i], notes[i])
    end
  end
  if #members > 0 then redis.call('ZREM', filed, unpack(members)) end
  if #gone > 0 then redis.call('HDEL', filing, unpack(gone)) end
end
