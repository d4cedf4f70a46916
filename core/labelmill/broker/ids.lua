-- The ids of the jobs in a part of a list. Only the end of each message is read: see inspect.lua.
--
-- KEYS  list
-- ARGV  index of the first, how many
-- Returns  how many messages there were, of how many bytes, {JSON string of an id, …}

local ids, bytes = {}, 0
local messages = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
for _, message in ipairs(messages) do
  local head = string.sub(message, -8192)
  ids[#ids + 1] = string.match(head, '"correlation_id":(".-"),"delivery_mode"')
    or string.match(head, '"correlation_id":%s*("[^"]*")')
  bytes = bytes + #message
end
return {#messages, bytes, ids}
