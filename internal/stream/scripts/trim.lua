-- Drops from a stream what all of its groups have acknowledged; nothing where there is no group.
-- KEYS[1] stream; ARGV: age in ms up to which entries are kept, how many are kept at least, how many to drop at most.
-- Returns how many were dropped.
local stream, age, keep, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

-- IDs are pairs of 64-bit numbers, which Lua's numbers can't hold: their digits are compared.
local function less(a, b)
  if #a == #b then
    return a < b
  end
  return #a < #b
end
local function older(a, b)
  if not b then
    return a
  end
  local at, an = string.match(a, '(%d+)-(%d+)')
  local bt, bn = string.match(b, '(%d+)-(%d+)')
  return (less(at, bt) or (at == bt and less(an, bn))) and a or b
end
local function after(id)
  local t, n = string.match(id, '(%d+)-(%d+)')
  return #n < 16 and string.format('%s-%.0f', t, n + 1) or id
end

if keep > 0 then
  limit = math.min(limit, redis.call('XLEN', stream) - keep)
  if limit <= 0 then
    return 0
  end
end
local unread, pending -- the oldest of any group; they and what follows them stay
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for i = 1, #row, 2 do
    group[row[i]] = row[i + 1]
  end
  unread = older(after(group['last-delivered-id']), unread)
  if group.pending > 0 then
    pending = older(redis.call('XPENDING', stream, group.name)[2], pending)
  end
end
if not unread then
  return 0
end
if age > 0 then
  local time = redis.call('TIME')
  unread = older(string.format('%.0f-0', time[1] * 1000 + math.floor(time[2] / 1000) - age), unread)
end

-- By whole nodes of the stream as long as there is much to drop, then the rest, unless that might be too much.
local function trim(call, before, ...)
  local n = call('XTRIM', stream, 'MINID', '~', before, 'LIMIT', limit, ...)
  if type(n) == 'number' and n < limit and keep == 0 then
    n = n + call('XTRIM', stream, 'MINID', before, ...)
  end
  return n
end
local dropped = trim(redis.pcall, unread, 'ACKED') -- Redis 8.2: also what lies between pending entries
if type(dropped) ~= 'number' then
  dropped = trim(redis.call, pending and older(pending, unread) or unread)
end
return dropped
