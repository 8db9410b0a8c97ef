-- file_letters: file dead letters under their names, and move the mark past them.
--
-- KEYS    1 filed       zset    names with the entries and ids of their letters
--         2 filing      hash    id → what is filed of its letter; mark
-- READS   dead          hash    id → entry in dlq
--         dlq           stream  dead letters
-- ARGV    1 tag         text    the lane's prefix
--         2 from        text    the mark that is expected
--         3 to          text    the new mark
--         4..* item     text    two per item: id, note: its entry and its names, a line each; at most 50
-- FLAGS   allow-oom
-- RETURNS {"filed", n} | {"passed", mark}   passed: the mark is another one, and nothing was done
-- EMITS   -
-- COST    O(names · log n)
-- @include lib/dead/filed

local tag, from, to = ARGV[1], ARGV[2], ARGV[3]

local mark = mark_of(KEYS[2])
if mark ~= from then return {'passed', mark} end
if redis.call('XLEN', tag .. 'dlq') == 0 then return {'filed', 0} end  -- the queue may have been removed
local ids, notes = {}, {}
for i = 4, #ARGV, 2 do
  ids[#ids + 1], notes[#notes + 1] = ARGV[i], ARGV[i + 1]
end
local before = notes_of(KEYS[1], KEYS[2], ids)
local entries = #ids > 0 and redis.call('HMGET', tag .. 'dead', unpack(ids)) or {}

unfile(KEYS[1], KEYS[2], ids, before)
local members, fields = {}, {'mark', to}
local count = 0
for i = 1, #ids do
  if entries[i] and string.match(notes[i], '^[^\n]*') == entries[i] then
    local first = #members
    add_members(members, ids[i], notes[i])
    if #members > first then
      fields[#fields + 1], fields[#fields + 2] = ids[i], notes[i]
      count = count + 1
    end
  end
end
local scored = {}
for i = 1, #members do scored[2 * i - 1], scored[2 * i] = 0, members[i] end
if #scored > 0 then redis.call('ZADD', KEYS[1], unpack(scored)) end
redis.call('HSET', KEYS[2], unpack(fields))

return {'filed', count}
