-- Acknowledges entries.
-- KEYS[1]: stream
-- ARGV[1]: group
-- ARGV[2] and following: IDs
return redis.call('XACK', KEYS[1], unpack(ARGV))
