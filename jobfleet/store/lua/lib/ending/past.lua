-- The past of a job that ends without a record of a worker, or whose clear record has events: one word of the line of its
-- ending, with its lines, escaped as in a form: a space is +, a line break is %0A. The oldest lines go if there is no room, so
-- that the line has at most 1,900 bytes, and that of a completed job at most 500: older scripts read no more.
local EVENTS_MOST, LINE_MOST, ENDING_MOST = 400, 300, 1900

local function escaped(line)
  line = string.gsub(string.sub(line, 1, LINE_MOST), '[^!-$&-*,-~ ]', function(c) return string.format('%%%02X', string.byte(c)) end)
  return (string.gsub(line, ' ', '+'))
end

local function last_lines(text, pattern, most)
  local lines = {}
  for line in string.gmatch(text, pattern) do lines[#lines + 1] = escaped(line) end
  local first = #lines + 1
  while first > 1 and #lines[first - 1] + 3 <= most do
    first = first - 1
    most = most - #lines[first] - 3
  end
  return table.concat(lines, '%0A', first)
end

-- What was asked for, from a clear record; empty for most jobs.
local function events_word(meta)
  if not meta or not string.find('\n' .. meta, '\nl ', 1, true) then return '' end
  local text = string.gsub('\n' .. meta, '\nl ', '\n\1')
  return last_lines(text, '\1([^\n]*)', EVENTS_MOST)
end

-- The same, and the runs before; `taken` bytes of the line are not free.
local function past_word(item, taken)
  local events = events_word(item.meta)
  if not item.tries then return events end
  local before = last_lines(string.sub(item.tries, -4000), '\n([^\n]+)', ENDING_MOST - taken - #events)
  return before .. (before ~= '' and events ~= '' and '%0A' or '') .. events
end

-- The tries of a job for the journal, with what was asked for: the archive has its lines from there.
local function tries_with_events(item)
  local text = item.meta and string.gsub('\n' .. item.meta, '\nl ', '\n\1') or ''
  local lines = {item.tries}
  for line in string.gmatch(text, '\1([^\n]*)') do
    lines[#lines + 1] = (#lines == 0 and '0:0:0:0:0\n' or '') .. line
  end
  return lines[1] and table.concat(lines, '\n')
end
