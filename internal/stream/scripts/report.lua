-- Writes the record of a member of a group.
-- KEYS[1]: the group's members
-- ARGV[1], ARGV[2], ARGV[3]: consumer, record, how long the hash stays after the last write (ms)
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
