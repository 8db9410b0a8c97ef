-- letter: one dead letter, by its job's id.
--
-- KEYS    1 dead        hash    id → entry in dlq
-- READS   dlq           stream  dead letters
-- ARGV    1 tag         text    the lane's prefix
--         2 id          text    job id
-- FLAGS   no-writes
-- RETURNS {"letter", {entry, id, reason, band, tries, meta, record, envelope}} | {"unknown"}
-- EMITS   -
-- COST    O(1)

local tag, id = ARGV[1], ARGV[2]

local entry = redis.call('HGET', KEYS[1], id)
local found = entry and string.find(entry, '^%d+%-%d+$') and redis.call('XRANGE', tag .. 'dlq', entry, entry)
if not found or not found[1] then return {'unknown'} end
local values, fields = {}, found[1][2]
for i = 1, #fields, 2 do values[fields[i]] = fields[i + 1] end

local row, names = {entry, id}, {'reason', 'band', 'tries', 'meta', 'record', 'envelope'}
for i = 1, #names do row[i + 2] = values[names[i]] or '' end
return {'letter', row}
