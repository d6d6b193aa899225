-- Moves an entry that this consumer still owns to the dead-letter stream and acknowledges it.
-- KEYS[1] stream, KEYS[2] dead-letter stream; ARGV: group, consumer, ID, then fields to add.
-- Returns 1 if the entry was moved, 0 if it belongs to somebody else or is acknowledged, -1 if it is no longer in the
-- stream (then it is acknowledged too).
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]
if #redis.call('XPENDING', KEYS[1], group, id, id, 1, consumer) == 0 then
  return 0
end
local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
if entry then
  local command = {'XADD', KEYS[2], '*'}
  for _, text in ipairs(entry[2]) do
    command[#command + 1] = text
  end
  for i = 4, #ARGV do
    command[#command + 1] = ARGV[i]
  end
  redis.call(unpack(command))
end
redis.call('XACK', KEYS[1], group, id)
return entry and 1 or -1
