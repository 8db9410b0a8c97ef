-- A dead letter of a job that ends; it replaces one of an earlier life of this id, or of a call that failed halfway. Only the
-- scripts with the keys for it include this, because it deletes entries.
local function write_letters(batch, keys)
  for i = 1, #batch.letters do
    local one = batch.letters[i]
    if one.old and string.find(one.old, '^%d+%-%d+$') then redis.call('XDEL', keys.dlq, one.old) end
    redis.call('HSET', keys.dead, one.id, redis.call('XADD', keys.dlq, '*', unpack(one.fields)))
  end
end

local function dead_letter(batch, item, ...)
  batch.letters, batch.write_letters = batch.letters or {}, write_letters
  local id = item.name or item.id
  batch.letters[#batch.letters + 1] = {id = id, old = item.dead, fields = {'id', id, ...}}
end
