-- Drops from a stream what all of its groups have acknowledged; nothing where there is no group. Each command in it is bounded,
-- in what it drops and in what it looks at and leaves.
-- KEYS[1] stream; ARGV: age in ms up to which entries are kept, how many are kept at least, how many to drop at most.
-- Returns how many were dropped. From half of the limit on there may be more.
local stream, age, keep, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local pendingRows, nodeRest = 1000, 100

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
local unread, pending -- the oldest of any group
local crowded = {} -- groups with many pending entries
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = {}
  for i = 1, #row, 2 do
    group[row[i]] = row[i + 1]
  end
  unread = older(after(group['last-delivered-id']), unread)
  if group.pending > 0 then
    pending = older(redis.call('XPENDING', stream, group.name)[2], pending)
  end
  if group.pending > pendingRows then
    crowded[#crowded + 1] = group.name
  end
end
if unread and age > 0 then
  local time = redis.call('TIME')
  local oldest = math.max(time[1] * 1000 + math.floor(time[2] / 1000) - age, 0)
  unread = older(string.format('%.0f-0', oldest), unread)
end
if not unread or unread == '0-0' then
  return 0
end
local acknowledged = pending and older(pending, unread) or unread -- all of what is older than this

-- Drops what is acknowledged behind the oldest pending entry (Redis 8.2). The server looks at each entry on the way, so it is
-- told to stop where many are pending. 8.2.0 to 8.2.6 and 8.4.0 to 8.4.3 drop nothing here, which does no harm.
local function between(most)
  local known = redis.pcall('XTRIM', stream, 'MINID', '~', '0-0', 'LIMIT', 1, 'ACKED')
  if type(known) ~= 'number' then
    return 0
  end
  local before = unread
  for _, group in ipairs(crowded) do
    local rows = redis.call('XPENDING', stream, group, '-', '+', pendingRows)
    before = older(rows[#rows][1], before)
  end
  return redis.call('XTRIM', stream, 'MINID', '~', before, 'LIMIT', most, 'ACKED')
end

-- Drops the rest that ~ leaves in the first node of the stream. An exact MINID may leave a node that holds nothing but what XDEL
-- deleted, which Redis 8.8 and newer refuse to load. So it is the ID of an entry that stays in the node; where none
-- stays, it is the last ID there is, and the whole node goes.
local function rest()
  local old = redis.call('XRANGE', stream, '-', '(' .. acknowledged, 'COUNT', nodeRest + 1)
  if #old == 0 then
    return 0
  end
  local stays = old[nodeRest + 1] or redis.call('XRANGE', stream, acknowledged, '+', 'COUNT', 1)[1]
  return redis.call('XTRIM', stream, 'MINID', stays and stays[1] or '18446744073709551615-18446744073709551615')
end

local dropped = redis.call('XTRIM', stream, 'MINID', '~', acknowledged, 'LIMIT', limit)
if dropped < limit / 2 and acknowledged ~= unread then
  dropped = dropped + between(limit - dropped)
end
if dropped < limit / 2 and keep == 0 then
  dropped = dropped + rest()
end
return dropped
