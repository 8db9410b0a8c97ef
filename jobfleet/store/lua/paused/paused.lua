-- paused: the functions that are paused in every queue.
--
-- KEYS    1 conf        hash    functions
-- FLAGS   no-writes
-- RETURNS {"paused", functions}   one line each
-- EMITS   -
-- COST    O(1)

return {'paused', redis.call('HGET', KEYS[1], 'functions') or ''}
