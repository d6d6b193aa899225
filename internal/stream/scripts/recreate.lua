-- Creates a group again after it vanished, at an ID that somebody knows who was in it. If it is there, there are three cases: it
-- never went, only its stream did for a moment (then this consumer is still in it); it was created by another who knows
-- (then a consumer that does nothing shows that); or by a newcomer, from where new groups start: then it is set to the ID.
-- KEYS[1] stream; ARGV: group, ID, this consumer, the one that shows, '1' if what the caller knows is recent. Else a group
-- that is there is left as it is: others may have worked with it for long.
-- Returns 1 if it created or set the group, 0 if the group was left as it is.
local stream, group, id, consumer, sign, recent = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5] == '1'

local function placed()
  for _, row in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
    if row[2] == consumer or row[2] == sign then
      return true
    end
  end
  return not recent
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
