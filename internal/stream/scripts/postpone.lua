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

local names = {'HMGET', entries}
for i = 3, #ARGV, 3 do
  names[#names + 1] = ARGV[i] .. ':holder'
end
local holders = redis.call(unpack(names))

-- Returns the fields of an entry that is pending for this consumer, or a result from above.
local function fieldsOf(id)
  if #redis.call('XPENDING', stream, group, id, id, 1, consumer) == 0 then
    return nil, 0
  end
  local entry = redis.call('XRANGE', stream, id, id)[1]
  if not entry then
    return nil, -1
  elseif #entry[2] > 6900 then -- it may become a dead letter, with more fields; unpack fails near 8,000
    return nil, -2
  end
  return entry[2], 1
end

-- The commands for all entries: one each is faster.
local results, set, add, acknowledge = {}, {'HSET', entries}, {'ZADD', queue}, {'XACK', stream, group}
local function append(list, ...)
  for _, word in ipairs({...}) do
    list[#list + 1] = word
  end
end
for n, holder in ipairs(holders) do
  local id, wait, deliveries = ARGV[3 * n], ARGV[3 * n + 1], ARGV[3 * n + 2]
  local fields, result = nil, 1
  if not holder then
    fields, result = fieldsOf(id)
  end
  if fields then
    append(set, id, stored(fields))
  end
  -- An entry that another consumer holds, or none, was put there by a call whose reply was lost.
  if fields or holder == consumer then
    append(set, id .. ':holder', '', id .. ':deliveries', deliveries)
    append(add, string.format('%.0f', now + wait), id)
  end
  if result == 1 then
    append(acknowledge, id)
  end
  results[n] = result
end
if #set > 2 then
  redis.call(unpack(set))
  redis.call(unpack(add))
end
if #acknowledge > 3 then
  redis.call(unpack(acknowledge))
end
return results
