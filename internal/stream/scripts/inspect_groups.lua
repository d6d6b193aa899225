-- Describes groups of a stream.
-- KEYS[1]: stream
-- ARGV[1], ARGV[2]: how many groups to leave out, how many to describe at most
-- ARGV[3]: empty, or the only group to describe
-- ARGV[4], ARGV[5], ARGV[6]: what the names of retry queues, of pauses and of owner keys begin with;
--   empty: they are in another slot
-- Returns {infoOf(stream) (info.lua), groups}, each group
--   {name, consumers, pending, last, read, lag, oldest, any, unread, parked, paused,
--   owner}
--   last: the newest ID that was delivered
--   read, lag: of the server; -1: unknown
--   oldest: {ID, consumer, idle, deliveries} of the oldest pending entry that is still in the stream
--   any: as oldest, also if it is no longer in the stream
--   unread: the ID of the first entry after last; empty: none
--   paused: the record of the pause; empty: none
--   owner: {consumer, generation, ms until its lease is over} (owner.lua); empty: nobody
local stream, skip, most, only = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local queues, pauses, owners = ARGV[4], ARGV[5], ARGV[6]
local looks = 10

-- Returns the oldest pending entry that is in the stream. One that is not may be before it.
local function oldestPending(group, first)
  local rows = redis.call('XPENDING', stream, group, first, '+', looks)
  for _, row in ipairs(rows) do
    if redis.call('XRANGE', stream, row[1], row[1])[1] then
      return row
    end
  end
  return rows[looks] or {}
end

local function value(command, key)
  local v = redis.pcall(command, key)
  return type(v) ~= 'table' and v or nil -- another type, or without the right
end

local function ownerOf(group)
  local state = owners ~= '' and redis.pcall('HMGET', owners .. group, 'consumer', 'generation', 'until')
  if not state or state.err or (state[1] or '') == '' then
    return {}
  end
  return {state[1], state[2] or '0', math.max((tonumber(state[3]) or 0) - milliseconds(), 0)}
end

local info, groups, seen = infoOf(stream), {}, 0
for _, row in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local group = pairsOf(row)
  local wanted = only == '' or group.name == only
  seen = seen + (wanted and 1 or 0)
  if wanted and seen > skip then
    local last, oldest, any = group['last-delivered-id'], {}, {}
    if group.pending > 0 then
      any = redis.call('XPENDING', stream, group.name, '-', '+', 1)[1] or {}
      oldest = info[4] ~= '' and oldestPending(group.name, info[4]) or {}
    end
    local unread = redis.call('XRANGE', stream, '(' .. last, '+', 'COUNT', 1)[1]
    groups[#groups + 1] = {
      group.name, group.consumers, group.pending, last, group['entries-read'] or -1, group.lag or -1,
      oldest, any, unread and unread[1] or '',
      queues ~= '' and value('ZCARD', queues .. group.name) or 0,
      pauses ~= '' and value('GET', pauses .. group.name) or '',
      ownerOf(group.name),
    }
    if #groups == most then
      break
    end
  end
end
return {info, groups}
