-- Searches a page of a stream for a text, bounded in entries, in bytes and in names and values that
-- the server reads; the last entry may exceed the bytes and the texts.
-- KEYS[1]: stream
-- ARGV[1]: the first ID, or "(" and the ID before it
-- ARGV[2]: the last ID; empty: the newest
-- ARGV[3], ARGV[4]: the most entries, about the most bytes
-- ARGV[5]: XRANGE, or XREVRANGE for the newest first
-- ARGV[6]: about the most names and values
-- ARGV[7]: the text: a value, or the ID of the entry
-- ARGV[8]: empty, or a field with a JSON document, which may have the text within
-- Returns {last, next, entries}, as page.lua does, but only the entries that may have the text
local from, last, most, bytes, read = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local mostTexts, wanted, document = tonumber(ARGV[6]), ARGV[7], ARGV[8]
local looked, size, texts, ask, found = 0, 0, 0, 1, {}

local function mayHave(entry)
  local fields, may = entry[2], entry[1] == wanted
  for i = 1, #fields, 2 do
    local value = fields[i + 1]
    size, texts = size + #fields[i] + #value, texts + 2
    may = may or value == wanted
    if not may and document ~= '' and fields[i] == document then
      -- With a backslash any character may be written in another way.
      may = string.find(value, wanted, 1, true) or string.find(value, '\\', 1, true)
    end
  end
  return may
end

if last == '' then
  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
  if not newest then
    return {'', '', {}}
  end
  last = newest[1]
end
while looked < most and size < bytes and texts < mostTexts do
  local entries = redis.call(read, KEYS[1], from, last, 'COUNT', ask)
  for _, entry in ipairs(entries) do
    if mayHave(entry) then
      found[#found + 1] = entry
    end
  end
  looked = looked + #entries
  if #entries < ask then
    return {last, '', found}
  end
  from = '(' .. entries[#entries][1]
  -- Entries may be large, and their size is known only when they were read.
  local fit = math.min((bytes - size) / (size / looked + 1), (mostTexts - texts) / (texts / looked + 1))
  ask = math.max(math.min(2 * ask, most - looked, math.floor(fit)), 1)
end
return {last, from, found}
