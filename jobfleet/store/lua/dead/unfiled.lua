-- unfiled: the oldest dead letters that are not filed yet, and the mark after which they come.
--
-- KEYS    1 dlq         stream  dead letters
--         2 filing      hash    id → what is filed of its letter; mark
-- ARGV    1 limit       int     1..50
-- FLAGS   no-writes
-- RETURNS {"unfiled", mark, {entry, id, reason, band, tries, meta, record, envelope, died}, …}
-- EMITS   -
-- COST    O(limit)
-- @include lib/dead/filed
-- @include lib/dead/rows

local mark = mark_of(KEYS[2])

local reply = {'unfiled', mark}
add_rows(reply, redis.call('XRANGE', KEYS[1], '(' .. mark, '+', 'COUNT', ARGV[1]))
return reply
