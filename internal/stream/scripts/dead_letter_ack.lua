-- Acknowledges an entry, if the XADD before it in the transaction has added it to the dead letters.
-- The check is needed because a transaction goes on when a command in it fails.
-- KEYS[1], KEYS[2]: stream, dead-letter stream
-- ARGV[1], ARGV[2], ARGV[3]: group, consumer, ID
-- ARGV[4] and following: the last names and values of the dead letter
-- Returns 1; or 0 if the entry belongs to another consumer or is acknowledged; or an error if the
-- dead letter was not added.
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
