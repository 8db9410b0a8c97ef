-- find_letters: dead letters before an entry, newest first; with a name only those filed under it, and those not filed.
--
-- KEYS    1 dlq         stream  dead letters
--         2 filed       zset    names with the entries and ids of their letters
--         3 filing      hash    id → what is filed of its letter; mark
-- ARGV    1 name        text    g:<fingerprint>, f:<function>, t:<tag> or a text as u:<user>; empty for all letters
--         2 before      text    an entry; + for the newest
--         3 since       int     ms since 1970; older letters are left out
--         4 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"found-letters", last, {entry, id, reason, band, tries, meta, record, envelope, died}, …}
--         last: the oldest entry that was looked at; empty if there is no older one
-- EMITS   -
-- COST    O(limit · log n)
-- @include lib/dead/filed
-- @include lib/dead/rows

local name, before, since, limit = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local upper = before == '+' and '+' or '(' .. before
local reply = {'found-letters', ''}

local floor = ARGV[3]
if name ~= '' then
  local mark = mark_of(KEYS[3])
  if tonumber(string.match(mark, '^%d+')) >= since then floor = '(' .. mark end
end
local found = redis.call('XREVRANGE', KEYS[1], upper, floor, 'COUNT', limit)
add_rows(reply, found)
if #found == limit then
  reply[2] = found[limit][1]
elseif name ~= '' then
  local newest = before == '+' and '(' .. name .. '\11' or '(' .. name .. '\n' .. padded(before)
  local oldest = '[' .. name .. '\n' .. padded(ARGV[3] .. '-0')
  local members = redis.call('ZREVRANGEBYLEX', KEYS[2], newest, oldest, 'LIMIT', 0, limit - #found)
  for i = 1, #members do
    local entry = entry_in(members[i])
    add_rows(reply, redis.call('XRANGE', KEYS[1], entry, entry))
    reply[2] = entry
  end
  if #members < limit - #found then reply[2] = '' end
end
return reply
