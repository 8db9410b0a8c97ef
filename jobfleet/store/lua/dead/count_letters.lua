-- count_letters: the numbers of dead letters that are filed under some names.
--
-- KEYS    1 filed       zset    names with the entries and ids of their letters
-- ARGV    1..* name     text    g:<fingerprint>, f:<function>, t:<tag> or a text as u:<user>; at most 50
-- FLAGS   no-writes
-- RETURNS {"counted-letters", {n, …}}
-- EMITS   -
-- COST    O(names · log n)

local counts = {}
for i = 1, #ARGV do counts[i] = redis.call('ZLEXCOUNT', KEYS[1], '[' .. ARGV[i] .. '\n', '(' .. ARGV[i] .. '\11') end
return {'counted-letters', counts}
