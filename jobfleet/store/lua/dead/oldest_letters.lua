-- oldest_letters: the oldest dead letters that are filed under a name, after an entry and up to a time.
--
-- KEYS    1 dlq         stream  dead letters
--         2 filed       zset    names with the entries and ids of their letters
-- ARGV    1 name        text    g:<fingerprint>, f:<function>, t:<tag> or a text as u:<user>
--         2 after       text    an entry; 0-0 for the oldest
--         3 upto        int     ms since 1970; later letters are left out
--         4 limit       int     1..200
-- FLAGS   no-writes
-- RETURNS {"oldest-letters", {entry, id, tries}, …}
-- EMITS   -
-- COST    O(limit · log n)
-- @include lib/dead/filed

local name, after, upto, limit = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local first, last = '(' .. name .. '\n' .. padded(after) .. '\11', '(' .. name .. '\n' .. padded(upto .. '-999999') .. '\11'
local members = redis.call('ZRANGEBYLEX', KEYS[2], first, last, 'LIMIT', 0, limit)
local reply = {'oldest-letters'}
for i = 1, #members do
  local entry, id = entry_in(members[i])
  local found = redis.call('XRANGE', KEYS[1], entry, entry)[1]
  local fields, tries = found and found[2] or {}, ''
  for k = 1, #fields, 2 do
    if fields[k] == 'tries' then tries = fields[k + 1] end
  end
  if found then reply[#reply + 1] = {entry, id, tries} end
end
return reply
