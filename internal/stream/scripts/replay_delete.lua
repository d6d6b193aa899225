-- Deletes a letter, if the command before this has added it to a stream: a transaction goes on when a command in it fails.
-- KEYS[1] dead-letter stream, KEYS[2] the other; ARGV: ID, the number of names and values that were added, the last of them.
-- Returns how many it deleted.
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or #newest[2] ~= tonumber(ARGV[2]) or newest[2][#newest[2]] ~= ARGV[3] then
  return redis.error_reply('ERR the letter was not added to its stream')
end
return redis.call('XDEL', KEYS[1], ARGV[1])
