-- What stands before scripts that read messages: the id of a message's job. Only the end of a message is
-- read, which has the headers and the properties but not the body: it may hold an image.

-- More than the headers and properties of a job whose id and queue are as long as can be.
local ENDING = 8192

-- The id as a JSON string. The last one counts: a header of that name may stand before the properties.
-- A plain search, since a pattern is tried at each byte and takes ten times as long.
local function id_of(message)
  local place
  local from = math.max(1, #message - ENDING)
  repeat
    local _, found = string.find(message, '"correlation_id":', from, true)
    place, from = found or place, (found or 0) + 1
  until not found
  return place and (string.match(message, '^(".-"),"delivery_mode"', place + 1)
    or string.match(message, '^%s*("[^"]*")', place + 1))
end

