-- pause_function: stop starts of a function's jobs in a lane; children put back those that they claim.
--
-- KEYS    1 conf        hash    functions
-- ARGV    1 function    text    its name
--         2 who         text    requester; - if unknown
--         3 reason      text    reason; may be empty
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"paused", fresh}   fresh is 0 if it was already paused
--         {"full"}   too many functions are paused
-- EMITS   -
-- COST    O(functions paused)
-- @include lib/base/clock
-- @include lib/base/number

local MOST = 64
local name, who, reason = ARGV[1], ARGV[2], ARGV[3]
local now = now_us()

local lines = {}
for line in string.gmatch(redis.call('HGET', KEYS[1], 'functions') or '', '[^\n]+') do
  local other = string.match(line, '^%S+')
  if other == name then return {'paused', 0} end
  -- A function that is being resumed stays paused.
  if other ~= '~' .. name then lines[#lines + 1] = line end
end
if #lines >= MOST then return {'full'} end

lines[#lines + 1] = name .. ' ' .. who .. '@' .. int(now) .. (reason ~= '' and ' ' .. reason or '')
redis.call('HSET', KEYS[1], 'functions', table.concat(lines, '\n'))

return {'paused', 1}
