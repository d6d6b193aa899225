-- Begins scripts that inspect a stream. XINFO STREAM has whole entries: only their IDs go on.
local function pairsOf(row)
  local map = {}
  for i = 1, #row, 2 do
    map[row[i]] = row[i + 1]
  end
  return map
end
local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
-- Returns {now, length, added, first, newest, last, deleted, groups}
--   now: the server's time (ms)
--   first, newest: the IDs of the oldest and of the newest entry; empty: none
--   last: the newest ID that the stream ever had
--   deleted: the newest ID that was deleted by XDEL
local function infoOf(stream)
  local info = pairsOf(redis.call('XINFO', 'STREAM', stream))
  local first, newest = info['first-entry'], info['last-entry']
  return {
    milliseconds(), info.length, info['entries-added'], first and first[1] or '', newest and newest[1] or '',
    info['last-generated-id'], info['max-deleted-entry-id'], info.groups,
  }
end
