-- leave: remove a worker that ends.
--
-- KEYS    1 workers     zset    worker ids by last beat (µs)
--         2 worker:<id> string  account of the worker
--         3 kinds       zset    kinds by last beat (µs)
--         4..* knowers:<kind> zset workers of the kinds of its children
-- ARGV    1 worker      text    its id
--         2..* kind     text    those kinds
-- FLAGS   allow-oom
-- RETURNS {"left", known}
-- EMITS   -
-- COST    O(kinds · log workers)

local worker = ARGV[1]

redis.call('UNLINK', KEYS[2])
for i = 1, #KEYS - 3 do
  redis.call('ZREM', KEYS[3 + i], worker)
  if redis.call('EXISTS', KEYS[3 + i]) == 0 then redis.call('ZREM', KEYS[3], ARGV[1 + i]) end
end

return {'left', redis.call('ZREM', KEYS[1], worker)}
