-- clean: delete the records of jobs that ended long ago. Dead letters stay.
--
-- KEYS    1..* result:<id> string five keys per item: result:<id>, progress:<id>, log:<id>, steps:<id>, chunks:<id>
-- READS   job:<id>      string  envelope
-- ARGV    1 tag         text    the lane's prefix
--         2 before      int     µs since 1970; records of earlier endings are deleted
--         3..* id       text    job id; at most 50
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"cleaned", n}
-- EMITS   -
-- COST    O(ids)

local tag, before = ARGV[1], tonumber(ARGV[2])

local old = {}
for i = 3, #ARGV do
  local n = i - 2
  local line = redis.call('GETRANGE', KEYS[5 * n - 4], 0, 80)
  local at = tonumber(string.match(line, '^%a+ (%d+)'))
  if at and at < before and redis.call('EXISTS', tag .. 'job:' .. ARGV[i]) == 0 then old[#old + 1] = n end
end

for i = 1, #old do redis.call('UNLINK', unpack(KEYS, 5 * old[i] - 4, 5 * old[i])) end

return {'cleaned', #old}
