-- Takes entries of the retry queue that are due, or whose consumer let its lease end.
-- KEYS[1]: retry queue: a sorted set of IDs; the score is when an entry may be taken (ms)
-- KEYS[2]: its entries: a hash. ID: names and values of the fields (texts.lua); ID:holder: the
--   consumer that has the entry; ID:deliveries: how often it was delivered
-- ARGV[1], ARGV[2]: consumer, how long its lease is (ms)
-- ARGV[3], ARGV[4]: the most entries, and about the most bytes
-- Returns {entries, wait}
--   entries: {ID, fields, deliveries, 0}
--   wait: ms until the next may be taken; -1: none is left
local queue, entries, most, bytes = KEYS[1], KEYS[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local list = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', queue, '-inf', now, 'LIMIT', 0, most)) do
  if bytes <= 0 then
    break
  end
  local state = redis.call('HMGET', entries, id, id .. ':deliveries')
  if state[1] then
    redis.call('ZADD', queue, string.format('%.0f', now + ARGV[2]), id)
    redis.call('HSET', entries, id .. ':holder', ARGV[1])
    list[#list + 1] = {id, texts(state[1]), tonumber(state[2]) or 0, 0}
    bytes = bytes - #state[1]
  else -- another program deleted it
    redis.call('ZREM', queue, id)
  end
end
local first = redis.call('ZRANGE', queue, 0, 0, 'WITHSCORES')
return {list, first[2] and math.max(first[2] - now, 0) or -1}
