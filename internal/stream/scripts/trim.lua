-- Trims entries that all groups of a stream have acknowledged. Without a group it trims nothing. It
-- is one step, because the groups must not change meanwhile. Each command is bounded both in the
-- entries that it drops and in the entries that it visits.
-- KEYS[1]: stream
-- ARGV[1]: entries that are younger are kept (ms)
-- ARGV[2]: how many entries are kept at least
-- ARGV[3]: how many entries are dropped at most
-- Returns how many entries were dropped. If it is at least half of the limit, there may be more.
local stream, age, keep, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local pendingRows, nodeRest = 1000, 100

-- IDs are pairs of 64-bit numbers, which Lua can't hold exactly, so their digits are compared.
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
local unread, pending -- the oldest of all groups
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
local acknowledged = pending and older(pending, unread) or unread -- all entries before it are

-- Drops acknowledged entries after the oldest pending one (Redis 8.2). The server visits each entry
-- up to the ID, so the ID is limited where many are pending. 8.2.0 to 8.2.6 and 8.4.0 to 8.4.3 drop
-- nothing here, which does no harm.
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

-- Drops the entries that ~ leaves in the first node of the stream. An exact MINID may leave a node
-- with only deleted entries (XDEL), which Redis 8.8 and newer refuse to load. So MINID is the ID of
-- an entry that stays. If none stays, it is the largest ID, and the whole node is dropped.
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
