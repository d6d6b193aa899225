-- Pauses a group, unless it is paused.
-- KEYS[1], KEYS[2]: stream, the key that pauses the group
-- ARGV[1], ARGV[2]: group, what to say of the pause
redis.call('XPENDING', KEYS[1], ARGV[1]) -- fails without the group
redis.call('SET', KEYS[2], ARGV[2], 'NX')
return 1
