-- What was asked for while a job was open, besides its runs, which are in its tries: its clear record has a line for each such
-- event, `l word at who text`, the last ten. A job to which nothing was done has none.
local LIFE_LINES, LIFE_TEXT = 10, 160

-- Cuts a text to a number of bytes, and never within a letter: a clear record is UTF-8.
local function clipped(text, most)
  if #text <= most then return text end
  return (string.gsub(string.sub(text, 1, most), '[\192-\255]?[\128-\191]*$', ''))
end

-- A clear record with one more event.
local function with_event(meta, word, stamp, who, text)
  local line = 'l ' .. word .. ' ' .. stamp .. ' ' .. who .. (text == '' and '' or ' ' .. clipped(text, LIFE_TEXT))
  local _, lines = string.gsub('\n' .. meta, '\nl ', '')
  while lines >= LIFE_LINES do
    local first = string.find('\n' .. meta, '\nl ', 1, true)
    local rest = string.match(meta, '^[^\n]*\n?(.*)$', first)
    meta, lines = string.sub(meta, 1, first - 1) .. rest, lines - 1
  end
  return meta .. (meta == '' and '' or '\n') .. line
end
