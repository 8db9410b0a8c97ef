-- The line of an ending without its record, and the time of the ending; nothing if there is none, or if the line names the
-- job that continues or replaces this one.
local function line_of(result_key)
  local line = string.match(redis.call('GETRANGE', result_key, 0, 2047), '^(%a+ %d[^\n]*)\n')
  if not line or string.find(line, ' moved:', 1, true) or string.find(line, ' replaced-by:', 1, true) then return nil end
  return line, tonumber(string.match(line, '^%a+ (%d+)'))
end
