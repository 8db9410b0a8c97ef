-- lacking: which commands the calling user may not run.
--
-- KEYS    1 queues      hash    names the slot
-- ARGV    1..* command  text    one per item: a command with its arguments, a word per line
-- FLAGS   no-writes
-- RETURNS {"lacking", {number, …}}   the numbers of the commands; a single 0: the server cannot check them
-- EMITS   -
-- COST    O(commands · rules of the user)
-- @include lib/base/number

local check = redis.acl_check_cmd
if not check then return {'lacking', {'0'}} end

local lacking = {}
for i = 1, #ARGV do
  local words = {}
  for word in string.gmatch(ARGV[i], '[^\n]+') do words[#words + 1] = word end
  if not check(unpack(words)) then lacking[#lacking + 1] = int(i) end
end
return {'lacking', lacking}
