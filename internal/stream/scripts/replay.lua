-- Moves an entry to another stream, without the fields whose names begin with a prefix.
-- KEYS[1] from, KEYS[2] to; ARGV: ID, prefix. Returns 1, or 0 if the entry is not there any more.
local entry = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not entry then
  return 0
end
local command = {'XADD', KEYS[2], '*'}
for i = 1, #entry[2], 2 do
  if string.sub(entry[2][i], 1, #ARGV[2]) ~= ARGV[2] then
    command[#command + 1] = entry[2][i]
    command[#command + 1] = entry[2][i + 1]
  end
end
redis.call(unpack(command))
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
