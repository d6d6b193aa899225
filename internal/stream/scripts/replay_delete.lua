-- Deletes a dead letter, if the XADD before it in the transaction has added it to its stream. The
-- check is needed because a transaction goes on when a command in it fails.
-- KEYS[1], KEYS[2]: dead-letter stream, the stream it was added to
-- ARGV[1], ARGV[2], ARGV[3]: ID, the number of names and values that were added, the last one of
--   them
-- Returns how many dead letters were deleted, or an error if the dead letter was not added.
local newest = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
if not newest or #newest[2] ~= tonumber(ARGV[2]) or newest[2][#newest[2]] ~= ARGV[3] then
  return redis.error_reply('ERR the letter was not added to its stream')
end
return redis.call('XDEL', KEYS[1], ARGV[1])
