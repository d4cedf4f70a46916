-- Renew leases that are still the caller's: the attempt number is the fencing token.
--
-- KEYS  attempts, deadlines
-- ARGV  lease in ms, then delivery, attempt, delivery, attempt, …
-- Returns  the deliveries whose lease was lost

local attempts, deadlines = KEYS[1], KEYS[2]

local clock = redis.call('TIME')
local deadline = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
local lost = {}

redis.call('ZREM', deadlines, '')  -- so that it works at maxmemory: see take.lua

for i = 2, #ARGV, 2 do
  local delivery, attempt = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', attempts, delivery) == attempt then
    redis.call('ZADD', deadlines, 'XX', deadline, delivery)
  else
    lost[#lost + 1] = delivery
  end
end

return lost
