-- The ids of the jobs in a part of a list; message.lua stands before it.
--
-- KEYS  list
-- ARGV  index of the first, how many
-- Returns  how many messages there were, of how many bytes, {JSON string of an id, …}

local ids, bytes = {}, 0
local messages = redis.call('LRANGE', KEYS[1], ARGV[1], ARGV[1] + ARGV[2] - 1)
for _, message in ipairs(messages) do
  ids[#ids + 1] = id_of(message)
  bytes = bytes + #message
end
return {#messages, bytes, ids}
