-- Begins other scripts. A list of texts is stored as one text: each with its length and a colon
-- before it.
local function texts(stored)
  local list, from = {}, 1
  while from <= #stored do
    local colon = string.find(stored, ':', from, true)
    local length = colon and tonumber(string.sub(stored, from, colon - 1))
    if not length or colon + length > #stored then
      return {}
    end
    list[#list + 1] = string.sub(stored, colon + 1, colon + length)
    from = colon + length + 1
  end
  return list
end
local function stored(list)
  local parts = {}
  for i, text in ipairs(list) do
    parts[i] = #text .. ':' .. text
  end
  return table.concat(parts)
end
