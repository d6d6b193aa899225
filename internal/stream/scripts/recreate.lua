-- Creates a group again that vanished, at the checkpoint of a member. It is one step, because
-- several members and newcomers may do that at the same time. If the group exists, there are three
-- cases:
-- 1. This consumer is in it: the group never vanished, but its slot moved. It is left alone.
-- 2. The marker is in it: another member recreated it. It is left alone.
-- 3. Otherwise a newcomer created it, at its own start. It is set to the checkpoint.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2], ARGV[3]: group, ID of the checkpoint, this consumer
-- ARGV[4]: the marker, which is the name of a consumer that does nothing
-- ARGV[5]: what happens to a group that exists
--   "recent": as above
--   "stale": it is left alone, because others may have progressed past the ID
--   "forward": it is set to the ID if it is behind it, and never back, because nothing may be
--     delivered twice. If this consumer is in it and the marker is not, it was set back by hand,
--     and is left alone.
-- Returns 1 if the group was created or set, 0 if it was left alone.
local stream, group, id, consumer, sign, known = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- IDs are pairs of 64-bit numbers, which Lua can't hold exactly, so their digits are compared.
local function less(a, b)
  if #a == #b then
    return a < b
  end
  return #a < #b
end
local function precedes(a, b)
  local at, an = string.match(a, '(%d+)-?(%d*)')
  local bt, bn = string.match(b, '(%d+)-?(%d*)')
  return less(at, bt) or (at == bt and less(an, bn))
end

local function behind()
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local info = {}
    for i = 1, #row, 2 do
      info[row[i]] = row[i + 1]
    end
    if info.name == group then
      return precedes(info['last-delivered-id'], id)
    end
  end
end

local function placed()
  local member, signed = false, false
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    member = member or row[2] == consumer
    signed = signed or row[2] == sign
  end
  if known == 'forward' then
    return (member and not signed) or not behind()
  end
  return member or signed or known == 'stale'
end

local changed = 0
local created = redis.pcall('XGROUP', 'CREATE', stream, group, id, 'MKSTREAM')
if not created.err then
  changed = 1
  redis.call('XGROUP', 'CREATECONSUMER', stream, group, sign)
elseif not string.find(created.err, 'BUSYGROUP', 1, true) then
  return created
elseif not placed() then
  changed = 1
  redis.call('XGROUP', 'SETID', stream, group, id)
  redis.call('XGROUP', 'CREATECONSUMER', stream, group, sign)
end
redis.call('XGROUP', 'CREATECONSUMER', stream, group, consumer)
return changed
