-- The jobs that fail because the head of their sequence has failed, by the entry "f group\0place\0head" of `grouped`
-- (lib/group/sequence): the group, the head, then id, envelope and tries of at most `most` jobs. Empty for a foreign entry.
local function doomed_by(prefix, entry, most)
  local at = string.find(entry, '\0', 1, true)
  local place = at and string.match(string.sub(entry, at + 1, at + 16), '^%d+$')
  if not place then return {} end
  local group = string.sub(entry, 2, at - 1)
  local from, to = '[s' .. group .. '\0', '(s' .. group .. '\0' .. place .. '\1'
  local found = redis.call('ZRANGEBYLEX', prefix .. 'grouped', from, to, 'LIMIT', 0, most)
  local rows = {group, string.sub(entry, at + 18)}
  for i = 1, #found do
    local id = string.sub(found[i], #group + 20)
    rows[3 * i] = id
    rows[3 * i + 1] = redis.call('GET', prefix .. 'job:' .. id) or ''
    rows[3 * i + 2] = redis.call('HGET', prefix .. 'tries', id) or ''
  end
  return rows
end
