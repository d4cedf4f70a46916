-- The ids of the jobs in a part of a list. Only the end of each message is read: see inspect.lua.
--
-- KEYS  list
-- ARGV  index of the first, how many
-- Returns  how many messages there were, of how many bytes, {JSON string of an id, …}

-- The last one: a header of that name may stand before the properties. A plain search, since a pattern
-- is tried at each byte and takes ten times as long.
local function id_place(message)
  local place
  local from = math.max(1, #message - 8192)
  repeat
    local _, found = string.find(message, '"correlation_id":', from, true)
    place, from = found or place, (found or 0) + 1
  until not found
  return place
end

local ids, bytes = {}, 0
local messages = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
for _, message in ipairs(messages) do
  local place = id_place(message)
  if place then
    ids[#ids + 1] = string.match(message, '^(".-"),"delivery_mode"', place + 1)
      or string.match(message, '^%s*("[^"]*")', place + 1)
  end
  bytes = bytes + #message
end
return {#messages, bytes, ids}
