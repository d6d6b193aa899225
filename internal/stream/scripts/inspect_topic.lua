-- Describes a stream.
-- KEYS[1]: stream
-- KEYS[2], KEYS[3]: dead letters, delayed messages; none: they are in another slot
-- ARGV[1]: what the names of the groups' retry queues begin with
-- Returns infoOf(stream) (info.lua) and {bytes, dead letters, delayed, parked}
local stream, deadLetters, delayed, queues = KEYS[1], KEYS[2], KEYS[3], ARGV[1]
local maxGroups = 1000

local reply = infoOf(stream)
local bytes = redis.pcall('MEMORY', 'USAGE', stream)
local function size(command, key)
  local n = key and redis.pcall(command, key)
  return type(n) == 'number' and n or 0 -- another type, or without the right
end
local parked = 0
if delayed and reply[8] > 0 then
  for i, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    if i > maxGroups then
      break
    end
    parked = parked + size('ZCARD', queues .. row[2])
  end
end
reply[9], reply[10] = type(bytes) == 'number' and bytes or -1, size('XLEN', deadLetters)
reply[11], reply[12] = size('ZCARD', delayed), parked
return reply
