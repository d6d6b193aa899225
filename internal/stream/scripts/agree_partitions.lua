-- Stores the number of partitions of a topic, unless something is stored.
-- KEYS[1]: the topic
-- ARGV[1]: what to store
-- Returns what is stored.
local stored = redis.call('GET', KEYS[1]) -- fails if it is a stream
if stored then
  return stored
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
