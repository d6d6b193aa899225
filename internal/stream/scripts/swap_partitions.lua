-- Stores another number of partitions of a topic, if the old one is stored.
-- KEYS[1]: the topic
-- ARGV[1], ARGV[2]: old, new
-- Returns what is stored then.
local stored = redis.call('GET', KEYS[1]) -- fails if it is a stream
if stored ~= ARGV[1] then
  return stored
end
redis.call('SET', KEYS[1], ARGV[2])
return ARGV[2]
