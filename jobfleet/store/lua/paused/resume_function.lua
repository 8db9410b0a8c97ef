-- resume_function: allow starts of a paused function's jobs again; or, at the end, record that all were put back.
--
-- KEYS    1 conf        hash    functions
-- ARGV    1 function    text    its name
--         2 step        text    begin, which leaves a mark, so that a tick can finish the work; or end
-- FLAGS   allow-oom
-- GUARDS  deadline once
-- RETURNS {"resuming", fresh} | {"resumed", fresh}   fresh is 0 if there was nothing to do
-- EMITS   -
-- COST    O(functions paused)

local name, step = ARGV[1], ARGV[2]

local lines, fresh = {}, 0
for line in string.gmatch(redis.call('HGET', KEYS[1], 'functions') or '', '[^\n]+') do
  local other = string.match(line, '^%S+')
  if step == 'begin' and other == name then
    fresh = 1
    lines[#lines + 1] = '~' .. line
  elseif step == 'end' and other == '~' .. name then
    fresh = 1
  else
    lines[#lines + 1] = line
  end
end

if fresh == 1 and #lines > 0 then
  redis.call('HSET', KEYS[1], 'functions', table.concat(lines, '\n'))
elseif fresh == 1 then
  redis.call('HDEL', KEYS[1], 'functions')
end

return {step == 'begin' and 'resuming' or 'resumed', fresh}
