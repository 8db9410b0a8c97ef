-- outcomes: the endings of some jobs, without the values that they returned.
--
-- KEYS    1 lane        hash    names the slot
-- READS   result:<id>   string  its ending
--         value:<id>    string  its record, if it is stored for a shorter time
-- ARGV    1 tag         text    the lane's prefix
--         2..* id       text    job id; at most 50
-- FLAGS   no-writes
-- RETURNS {"outcomes", {result, …}}   its fields, and the header of its record or envelope; empty if there is none
-- EMITS   -
-- COST    O(ids)
-- @include lib/ending/brief

local tag = ARGV[1]

-- A record is: version, kind, length of the header (u32, big endian), header, body.
local function up_to_body(key, has_line)
  local head = redis.call('GETRANGE', key, 0, 511)
  if has_line and #head == 512 and not string.find(head, '\n', 1, true) then  -- its line has the past of the job
    head = redis.call('GETRANGE', key, 0, 2559)
  end
  local line = has_line and (string.match(head, '^[^\n]*\n') or head) or ''
  local a, b, c, d = string.byte(head, #line + 3, #line + 6)
  if not d then return head end
  local length = ((a * 256 + b) * 256 + c) * 256 + d
  return redis.call('GETRANGE', key, 0, #line + 5 + math.min(length, 262144))
end

local function head_of(id)
  local head = up_to_body(tag .. 'result:' .. id, true)
  return string.sub(head, -1) == '\n' and head .. up_to_body(value_key(tag, id), false) or head
end

local found = {}
for i = 2, #ARGV do found[i - 1] = head_of(ARGV[i]) end

return {'outcomes', found}
