local LETTER_FIELDS = {'id', 'reason', 'band', 'tries', 'meta', 'record', 'envelope'}

-- Adds a row per entry of the stream: the entry, its fields, and when the job died (ms) if that is not the entry's time.
local function add_rows(rows, found)
  for i = 1, #found do
    local fields, values = found[i][2], {}
    for k = 1, #fields, 2 do values[fields[k]] = fields[k + 1] end
    local row = {found[i][1]}
    for n = 1, #LETTER_FIELDS do row[n + 1] = values[LETTER_FIELDS[n]] or '' end
    if values.died then row[#LETTER_FIELDS + 2] = values.died end
    rows[#rows + 1] = row
  end
end
