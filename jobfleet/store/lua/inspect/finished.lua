-- finished: a page of the batches that ended, newest first.
--
-- KEYS    1 done        stream  finished jobs
-- ARGV    1 before      text    an entry's id, or + for the newest
--         2 limit       int     1..50 batches
-- FLAGS   no-writes
-- RETURNS {"finished", {entry, lines}, …}   a line is: suffix, outcome (its first two letters), duration (µs)
-- EMITS   -
-- COST    O(limit)

local before, limit = ARGV[1], ARGV[2]
local TEXT_MOST = 65536  -- a batch of ours is far shorter; a text of 10 MB would be sent with each page

local found = redis.call('XREVRANGE', KEYS[1], before, '-', 'COUNT', limit)

local reply = {'finished'}
for i = 1, #found do
  local name, lines = found[i][2][1], found[i][2][2]
  reply[i + 1] = {found[i][1], name == 'jobs' and #lines <= TEXT_MOST and lines or ''}
end
return reply
