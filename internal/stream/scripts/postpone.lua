-- Puts entries that this consumer holds into the retry queue of its group, and acknowledges them.
-- It is one step, so each is either held or in the queue. Only the group gets them again: with
-- their IDs, fields and delivery counts.
-- KEYS[1]: stream
-- KEYS[2], KEYS[3]: retry queue, its entries (retries.lua)
-- ARGV[1], ARGV[2]: group, consumer
-- ARGV[3] and following: triples of ID, wait (ms) and delivery count
-- Returns for each entry
--   1: it is in the queue
--   0: it belongs to another consumer, or is acknowledged
--   -1: it is no longer in the stream
--   -2: it has more values than a script can pass on
local stream, queue, entries, group, consumer = KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2]
local now = timeOf(entries) + 1 -- rounded up: never too early

-- Puts one entry into the queue. One that is there already, and that this consumer does not hold,
-- was put there by a call whose reply was lost.
local function postpone(id, wait, deliveries)
  local holder = redis.call('HGET', entries, id .. ':holder')
  if not holder then
    if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
      return 0
    end
    local entry = redis.call('XRANGE', stream, id, id)[1]
    if not entry then
      return -1
    elseif #entry[2] > 6900 then -- it may become a dead letter, with more fields; unpack fails near 8,000
      return -2
    end
    redis.call('HSET', entries, id, stored(entry[2]), id .. ':holder', '', id .. ':deliveries', deliveries)
  elseif holder == consumer then
    redis.call('HSET', entries, id .. ':holder', '', id .. ':deliveries', deliveries)
  else
    return 1
  end
  put(queue, now + wait, id)
  return 1
end

local results, acknowledge = {}, {'XACK', stream, group}
for i = 3, #ARGV, 3 do
  local result = postpone(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  results[#results + 1] = result
  if result == 1 then
    acknowledge[#acknowledge + 1] = ARGV[i]
  end
end
if #acknowledge > 3 then
  redis.call(unpack(acknowledge))
end
return results
