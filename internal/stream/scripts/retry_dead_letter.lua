-- Moves a dead letter into the retry queue of the group that gave it up, in one step, without the
-- fields whose names begin with a prefix.
-- KEYS[1]: dead-letter stream
-- KEYS[2], KEYS[3]: retry queue, its entries; see retries.lua
-- ARGV[1]: ID
-- ARGV[2], ARGV[3]: the prefix, the ID that the entry had
-- Returns 1; or 0 if it is gone or has no other fields; or -2 if it has more values than a script
-- can pass on.
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not letter then
  return 0
end
local fields = {}
for i = 1, #letter[2], 2 do
  if string.sub(letter[2][i], 1, #ARGV[2]) ~= ARGV[2] then
    fields[#fields + 1] = letter[2][i]
    fields[#fields + 1] = letter[2][i + 1]
  end
end
if #fields == 0 then
  return 0
elseif #fields > 6900 then
  return -2
end
local id = ARGV[3]
if not redis.call('ZSCORE', KEYS[2], id) then -- otherwise it is there already
  redis.call('HSET', KEYS[3], id, stored(fields), id .. ':holder', '', id .. ':deliveries', '0')
  redis.call('ZADD', KEYS[2], '0', id)
end
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
