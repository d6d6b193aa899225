-- Acknowledges an entry, if the command before this has added it to the dead letters: a transaction goes on when a command in it fails.
-- KEYS[1] stream, KEYS[2] dead-letter stream; ARGV: group, consumer, ID, then the fields that a letter ends with.
-- Returns 1, or 0 if the entry belongs to somebody else or is acknowledged.
local group, consumer, id = ARGV[1], ARGV[2], ARGV[3]
local info, row = {}, redis.call('XINFO', 'STREAM', KEYS[2])
for i = 1, #row, 2 do
  info[row[i]] = row[i + 1]
end
local fields = info['last-entry'] and info['last-entry'][2] or {}
for i = 4, #ARGV do
  if fields[#fields - #ARGV + i] ~= ARGV[i] then
    return redis.error_reply('ERR the entry was not added to the dead letters')
  end
end
if #redis.call('XPENDING', KEYS[1], group, id, id, 1, consumer) == 0 then
  return 0
end
redis.call('XACK', KEYS[1], group, id)
return 1
