-- Begins the scripts of the retry queue of a group.
-- The queue is a sorted set of IDs; the score is when an entry may be taken (ms). Its entries are a
-- hash. ID: names and values of the fields (texts.lua); ID:holder: the consumer that has the entry,
-- or nothing; ID:deliveries: how often it was delivered; now and behind: the time of the queue.

-- Returns the time of the queue: the server's, but it never goes back. So a clock that is set back
-- delays no retry, and no lease lasts longer.
local function timeOf(entries)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local state = redis.call('HMGET', entries, 'now', 'behind')
  local last, behind = tonumber(state[1]) or 0, tonumber(state[2]) or 0
  if last - now - behind > 1000 then
    behind = last - now
  end
  redis.call('HSET', entries, 'now', string.format('%.0f', now + behind), 'behind', string.format('%.0f', behind))
  return now + behind
end

local function put(queue, at, id)
  redis.call('ZADD', queue, string.format('%.0f', at), id)
end

local function remove(queue, entries, id)
  redis.call('ZREM', queue, id)
  redis.call('HDEL', entries, id, id .. ':holder', id .. ':deliveries')
  if redis.call('EXISTS', queue) == 0 then
    redis.call('HDEL', entries, 'now', 'behind')
  end
end
