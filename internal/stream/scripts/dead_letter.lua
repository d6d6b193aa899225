-- Moves an entry that this consumer still owns to the dead-letter stream and acknowledges it.
-- KEYS[1] stream, KEYS[2] dead-letter stream; ARGV: group, consumer, ID, about how many letters are kept (0: all), then fields to add.
-- Returns 1 if the entry was moved, 0 if it belongs to somebody else or is acknowledged, -1 if it is no longer in the
-- stream (then it is acknowledged too), -2 if it has more values than a script can pass on (then its lease is renewed).
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]
if #redis.call('XPENDING', KEYS[1], group, id, id, 1, consumer) == 0 then
  return 0
end
local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
if entry then
  local command = {'XADD', KEYS[2]}
  if ARGV[4] ~= '0' then
    command = {'XADD', KEYS[2], 'MAXLEN', '~', ARGV[4]}
  end
  command[#command + 1] = '*'
  for _, text in ipairs(entry[2]) do
    command[#command + 1] = text
  end
  for i = 5, #ARGV do
    command[#command + 1] = ARGV[i]
  end
  if #command > 7000 then -- unpack fails near 8,000
    redis.call('XCLAIM', KEYS[1], group, consumer, 0, id, 'JUSTID')
    return -2
  end
  redis.call(unpack(command))
end
redis.call('XACK', KEYS[1], group, id)
return entry and 1 or -1
