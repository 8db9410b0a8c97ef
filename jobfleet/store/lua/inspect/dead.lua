-- dead: a page of the dead letters, newest first.
--
-- KEYS    1 dlq         stream  dead letters
-- ARGV    1 before      text    an entry's id as a bound of XREVRANGE, or + for the newest
--         2 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"dead", {entry, id, reason, band, tries, meta, record, envelope}, …}
-- EMITS   -
-- COST    O(limit)

local before, limit = ARGV[1], ARGV[2]

local found = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', limit)

local reply, names = {'dead'}, {'id', 'reason', 'band', 'tries', 'meta', 'record', 'envelope'}
for i = 1, #found do
  local values = {}
  local fields = found[i][2]
  for k = 1, #fields, 2 do values[fields[k]] = fields[k + 1] end
  local row = {found[i][1]}
  for n = 1, #names do row[n + 1] = values[names[n]] or '' end
  reply[i + 1] = row
end
return reply
