-- Creates a group again after it vanished, at an ID that somebody knows who was in it. If it is there, there are three cases: it
-- never went, only its stream did for a moment (then this consumer is still in it); it was created by another who knows
-- (then a consumer that does nothing shows that); or by a newcomer, from where new groups start: then it is set to the ID.
-- KEYS[1] stream; ARGV: group, ID, this consumer, the one that shows, and one of "recent", "stale" (a group that is there is left as
-- it is: others may have worked with it for long) and "forward" (nothing may come twice: a group that was created again is set to
-- the newest ID that anybody knows, and never back).
-- Returns 1 if it created or set the group, 0 if the group was left as it is.
local stream, group, id, consumer, sign, known = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

-- IDs are pairs of 64-bit numbers, which Lua's numbers can't hold: their digits are compared.
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
