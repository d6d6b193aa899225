-- Lists entries of the retry queue of a group (retries.lua), in the order in which they are due.
-- KEYS[1], KEYS[2]: retry queue, its entries
-- ARGV[1], ARGV[2]: score and ID of the last entry of the page before; empty: the first page
-- ARGV[3], ARGV[4]: the most entries, about the most bytes
-- Returns entries, each {ID, score, due, holder, deliveries, fields}
--   due: by the server's clock (ms)
local queue, entries, score, last = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local most, bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

-- Returns the rank of the first entry after the last one. That entry may have moved since then.
local function start()
  if last == '' then
    return 0
  elseif redis.call('ZSCORE', queue, last) == score then
    return redis.call('ZRANK', queue, last) + 1
  end
  return redis.call('ZCOUNT', queue, '-inf', '(' .. score) -- those with the same score are returned again
end

local behind = tonumber(redis.call('HGET', entries, 'behind')) or 0
local from, page = start(), {}
local rows = redis.call('ZRANGE', queue, from, from + most - 1, 'WITHSCORES')
for i = 1, #rows, 2 do
  local id = rows[i]
  local state = redis.call('HMGET', entries, id, id .. ':holder', id .. ':deliveries')
  local fields = state[1] or ''
  page[#page + 1] = {id, rows[i + 1], string.format('%.0f', rows[i + 1] - behind), state[2] or '', tonumber(state[3]) or 0, texts(fields)}
  bytes = bytes - #fields
  if bytes <= 0 then
    break
  end
end
return page
