-- stacks: the answer of a worker that was asked for the stacks of a child.
--
-- KEYS    1 stacks:<nonce> string its answer
-- FLAGS   no-writes
-- RETURNS {"stacks", answer}   empty before there is one
-- EMITS   -
-- COST    O(1)

return {'stacks', redis.call('GET', KEYS[1]) or ''}
