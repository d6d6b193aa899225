-- Moves a dead letter back to the stream that it came from, in one step, without the fields whose names begin with a
-- prefix.
-- KEYS[1] dead-letter stream, KEYS[2] where to add it; none: it is dropped.
-- ARGV: ID, the field that names the stream that a dead letter came from, its value, the prefix.
-- Returns 1, or 0 if the dead letter is not there any more, came from another stream or has no other fields, or -2 if it has more
-- values than a script can pass on.
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
