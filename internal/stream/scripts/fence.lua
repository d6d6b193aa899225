-- Begins scripts that only the owner of a stream may run; see owner.lua.
-- The last of KEYS: the owner key
-- The last two of ARGV: consumer, generation
-- They are removed, so the script behind is the same as without them. The time is not checked: an
-- owner whose lease is over still is the owner until it is replaced.
do
  local generation = table.remove(ARGV)
  local consumer = table.remove(ARGV)
  local owner = redis.call('HMGET', table.remove(KEYS), 'consumer', 'generation')
  if owner[2] == generation and owner[1] == '' then
    return redis.error_reply('NOTOWNER released: this consumer has released the stream')
  elseif owner[2] ~= generation or owner[1] ~= consumer then
    return redis.error_reply('NOTOWNER this consumer does not own the stream')
  end
end
