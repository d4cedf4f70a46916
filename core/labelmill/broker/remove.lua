-- Take a job's messages out of a part of a list, or of the delayed ones; message.lua stands before it.
--
-- KEYS  list, or: delayed, messages, attempts, excused
-- ARGV  index of the first message, how many, the id as a JSON string, the same as others write it,
--       the id
-- Returns  how many messages there were, of how many bytes, how many were taken out

local first, last = tonumber(ARGV[1]), ARGV[1] + ARGV[2] - 1
local delayed = #KEYS > 1
local count, bytes, removed = 0, 0, 0

local function is_of_job(message)
  local from = math.max(1, #message - ENDING)
  if not string.find(message, '"correlation_id":' .. ARGV[3], from, true)
    and not string.find(message, '"correlation_id": ' .. ARGV[4], from, true) then
    return false
  end
  -- What looks like it may stand elsewhere in another's message.
  local read, found = pcall(cjson.decode, message)
  local properties = read and type(found) == 'table' and found.properties
  return type(properties) == 'table' and properties.correlation_id == ARGV[5]
end

local found = redis.call(delayed and 'ZRANGE' or 'LRANGE', KEYS[1], first, last)
for _, each in ipairs(found) do
  local message = delayed and (redis.call('HGET', KEYS[2], each) or '') or each
  count, bytes = count + 1, bytes + #message
  if is_of_job(message) then
    removed = removed + 1
    if delayed then
      redis.call('ZREM', KEYS[1], each)
      for i = 2, 4 do
        redis.call('HDEL', KEYS[i], each)
      end
    else
      redis.call('LREM', KEYS[1], 1, message)
    end
  end
end

return {count, bytes, removed}
