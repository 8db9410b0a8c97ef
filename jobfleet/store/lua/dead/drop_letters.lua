-- drop_letters: delete the copies of dead letters whose jobs have started.
--
-- KEYS    1..* rescued:<id> hash the letter of a replayed job that has not started
-- ARGV    1 tag         text    the lane's prefix
-- FLAGS   allow-oom
-- RETURNS {"dropped-letters", n}
-- EMITS   -
-- COST    O(items)

return {'dropped-letters', redis.call('UNLINK', unpack(KEYS))}
