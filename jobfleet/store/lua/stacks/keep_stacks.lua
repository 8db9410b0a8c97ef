-- keep_stacks: a worker stores the stacks of a child for the operator who has asked for them.
--
-- KEYS    1 stacks:<nonce> string its answer
-- ARGV    1 ttl         int     ms for which the answer is stored
--         2 answer      text    msgpack
-- FLAGS   allow-oom
-- GUARDS  deadline
-- RETURNS {"kept"}
-- EMITS   -
-- COST    O(1)

redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])

return {'kept'}
