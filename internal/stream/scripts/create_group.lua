-- Creates a group, and sets its ENTRIESREAD to the number of entries that were added before its
-- start. With that number, entries that are trimmed unread can be counted from the start of the
-- group on. It is one step, because the numbers must belong to the same state of the stream.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: group, ID where it begins
-- Returns 1; or 0 if the server does not report the lag, so that the number is unknown; or the
-- error of XGROUP CREATE.
local stream, group, id = KEYS[1], ARGV[1], ARGV[2]
local function info()
  for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local fields = {}
    for i = 1, #row, 2 do
      fields[row[i]] = row[i + 1]
    end
    if fields.name == group then
      return fields
    end
  end
end
local created = redis.pcall('XGROUP', 'CREATE', stream, group, id, 'MKSTREAM')
if created.err then
  return created
end
local begun = info()
if not begun or type(begun.lag) ~= 'number' then
  return 0
end
-- At the end of the stream with 0 entries read, the lag of a group is the number of entries that
-- were ever added.
local start = begun['last-delivered-id']
if not redis.pcall('XGROUP', 'SETID', stream, group, '$', 'ENTRIESREAD', 0).err then
  local added = info().lag or 0
  if added == 0 then -- Redis 8 returns 0 for an empty stream; XINFO STREAM is small then
    local row = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #row, 2 do
      if row[i] == 'entries-added' then
        added = row[i + 1]
      end
    end
  end
  redis.call('XGROUP', 'SETID', stream, group, start, 'ENTRIESREAD', added - begun.lag)
end
return 1
