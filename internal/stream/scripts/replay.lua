-- Moves a dead letter back to its stream in one step, without the fields whose names begin with a
-- prefix; or drops it.
-- KEYS[1]: dead-letter stream
-- KEYS[2]: the stream to add it to; without it the dead letter is dropped
-- ARGV[1]: ID
-- ARGV[2], ARGV[3]: the field that names the stream of a dead letter, and the value it must have
-- ARGV[4]: the prefix
-- Returns
--   1: it was moved or dropped
--   0: it is gone, belongs to another stream, or has no other fields
--   -2: it has more values than a script can pass on
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then
  return 0
end
local origin = ARGV[3]
local command = {'XADD', KEYS[2], '*'}
for i = 1, #letter[2], 2 do
  local name, value = letter[2][i], letter[2][i + 1]
  if name == ARGV[2] then
    origin = value
  end
  if KEYS[2] and string.sub(name, 1, #ARGV[4]) ~= ARGV[4] then
    command[#command + 1] = name
    command[#command + 1] = value
  end
end
if origin ~= ARGV[3] then
  return 0
end
if KEYS[2] then
  if #command == 3 then
    return 0
  elseif #command > 7000 then -- unpack fails near 8,000
    return -2
  end
  redis.call(unpack(command))
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
