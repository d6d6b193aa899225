-- What XINFO STREAM says of a stream, without the two entries that it returns.
-- KEYS[1] stream. Returns {entries added ever, length, oldest ID, newest ID ever}; empty where the server doesn't tell.
local info, row = {}, redis.call('XINFO', 'STREAM', KEYS[1])
for i = 1, #row, 2 do
  info[row[i]] = row[i + 1]
end
local first = info['first-entry']
if not (info['entries-added'] and info['last-generated-id']) then
  return {}
end
return {info['entries-added'], info.length, first and first[1] or '', info['last-generated-id']}
