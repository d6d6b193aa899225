-- Moves an entry to the dead-letter stream and acknowledges it, if this consumer still owns it. It
-- is one step, so the entry is either pending or moved.
-- KEYS[1], KEYS[2]: stream, dead-letter stream
-- KEYS[3], KEYS[4]: retry queue, its entries (retries.lua), if the entry is in the queue
-- ARGV[1], ARGV[2], ARGV[3]: group, consumer, ID
-- ARGV[4]: about how many dead letters are kept; 0: all
-- ARGV[5] and following: names and values of fields to add
-- Returns
--   1: the entry was moved
--   0: it belongs to another consumer, or is acknowledged
--   -1: it is no longer in the stream; it was acknowledged
--   -2: it has more values than a script can pass on; its lease was renewed
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]
local isQueued, entry = KEYS[3] ~= nil, nil
if isQueued then
  if redis.call('HGET', KEYS[4], id .. ':holder') ~= consumer then
    return 0
  end
  entry = {id, texts(redis.call('HGET', KEYS[4], id))}
else
  if #redis.call('XPENDING', KEYS[1], group, id, id, 1, consumer) == 0 then
    return 0
  end
  entry = redis.call('XRANGE', KEYS[1], id, id)[1]
end
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
if isQueued then
  remove(KEYS[3], KEYS[4], id)
else
  redis.call('XACK', KEYS[1], group, id)
end
return entry and 1 or -1
