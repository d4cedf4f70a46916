-- Renew leases that are still the caller's: the attempt number is the fencing token.
--
-- One that is another worker's by now was lost by a worker that lives: the job has not ended it, and
-- that attempt does not count.
--
-- KEYS  attempts, deadlines, excused
-- ARGV  lease in ms, then delivery, attempt, delivery, attempt, …
-- Returns  the deliveries whose lease was lost

local attempts, deadlines, excused = KEYS[1], KEYS[2], KEYS[3]

local clock = redis.call('TIME')
local deadline = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
local lost = {}

redis.call('ZREM', deadlines, '')  -- so that it works at maxmemory: see take.lua

for i = 2, #ARGV, 2 do
  local delivery, attempt = ARGV[i], ARGV[i + 1]
  local now_at = redis.call('HGET', attempts, delivery)
  if now_at == attempt then
    redis.call('ZADD', deadlines, 'XX', deadline, delivery)
  else
    lost[#lost + 1] = delivery
    if now_at and tonumber(now_at) > tonumber(attempt) then
      local before = redis.call('HGET', excused, delivery) or ' '
      if not string.find(before, ' ' .. attempt .. ' ', 1, true) then
        redis.call('HSET', excused, delivery, before .. attempt .. ' ')
      end
    end
  end
end

return lost
