-- Creates a group that is missing, and tells the server how many entries were added before its first one: without that nobody
-- can tell later how many were trimmed before the group read anything.
-- KEYS[1] stream; ARGV: group, ID.
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
-- At the end of the stream, as if it had read nothing, the group lags behind by all that was ever added.
local start = begun['last-delivered-id']
if not redis.pcall('XGROUP', 'SETID', stream, group, '$', 'ENTRIESREAD', 0).err then
  local added = info().lag or 0
  if added == 0 then -- Redis 8 says so of an empty stream, whose XINFO STREAM holds no entries
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
