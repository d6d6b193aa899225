-- Adds the delayed messages that are due to their stream. Each is added and removed in one step, so
-- none is lost or added twice, whoever else runs the script.
-- KEYS[1], KEYS[2]: delayed messages, stream
-- ARGV[1], ARGV[2]: how many entries to move at most, and about how many bytes
-- An entry is a list of texts (texts.lua): its ID here, MAXLEN or MINID or nothing, the number for
-- that (MINID: the age in ms), and names and values of its fields.
-- Returns {moved, wait, unreadable}
--   wait: ms until the next is due; -1: none is left
--   unreadable: members that are no entries; they are put off by a day
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function command(list)
  local words = {'XADD', KEYS[2]}
  if list[2] == 'MAXLEN' then
    words = {'XADD', KEYS[2], 'MAXLEN', '~', list[3]}
  elseif list[2] == 'MINID' then
    words = {'XADD', KEYS[2], 'MINID', '~', string.format('%.0f', math.max(now - list[3], 0))}
  end
  words[#words + 1] = '*'
  for i = 4, #list do
    words[#words + 1] = list[i]
  end
  return words
end

local moved, bytes, unreadable = 0, 0, 0
while moved + unreadable < tonumber(ARGV[1]) and bytes < tonumber(ARGV[2]) do
  local member = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 1)[1]
  if not member then
    break
  end
  local list = texts(member)
  if #list < 5 or #list % 2 == 0 then
    unreadable = unreadable + 1
    redis.call('ZADD', KEYS[1], string.format('%.0f', now + 86400000), member)
  else
    redis.call(unpack(command(list)))
    redis.call('ZREM', KEYS[1], member)
    moved = moved + 1
    bytes = bytes + #member
  end
end
local first = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
local wait = first[2] and math.max(first[2] - now, 0) or -1
return {moved, wait, unreadable}
