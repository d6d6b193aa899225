-- Schedules an entry. It is a script, because the server's clock decides when the entry is due.
-- KEYS[1]: delayed messages of the stream
-- ARGV[1]: not used
-- ARGV[2]: delay in ms
-- ARGV[3]: the entry; see move_delayed.lua
-- Returns when the entry is due, in ms
local time = redis.call('TIME')
local due = string.format('%.0f', time[1] * 1000 + math.ceil(time[2] / 1000) + ARGV[2])
redis.call('ZADD', KEYS[1], due, ARGV[3])
return due
