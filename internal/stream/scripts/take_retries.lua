-- Takes entries of the retry queue that are due, or whose consumer let its lease end.
-- KEYS[1], KEYS[2]: retry queue, its entries (retries.lua)
-- ARGV[1], ARGV[2]: consumer, how long its lease is (ms)
-- ARGV[3], ARGV[4]: the most entries, and about the most bytes
-- Returns {entries, wait}
--   entries: {ID, fields, deliveries, 0}
--   wait: ms until the next may be taken; -1: none is left
local queue, entries, most, bytes = KEYS[1], KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4])
if redis.call('EXISTS', queue) == 0 then
  return {{}, -1}
end
local now = timeOf(entries)
local list = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, most)) do
  if bytes <= 0 then
    break
  end
  local state = redis.call('HMGET', entries, id, id .. ':deliveries')
  if state[1] then
    put(queue, now + ARGV[2], id)
    redis.call('HSET', entries, id .. ':holder', ARGV[1])
    list[#list + 1] = {id, texts(state[1]), tonumber(state[2]) or 0, 0}
    bytes = bytes - #state[1]
  else -- another program deleted it
    remove(queue, entries, id)
  end
end
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
return {list, first[2] and math.max(first[2] - now, 0) or -1}
