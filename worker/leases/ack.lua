-- Acknowledge jobs whose rows are committed, and forget them; with a list of dead letters named,
-- their messages are kept there. A lease that was lost is left alone: it is another worker's.
--
-- KEYS  messages, attempts, deadlines [, dead]
-- ARGV  delivery, attempt, delivery, attempt, …
-- Returns  the deliveries whose lease was lost

local messages, attempts, deadlines, dead = unpack(KEYS)
local owned, lost = {}, {}

for i = 1, #ARGV, 2 do
  local delivery, attempt = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', attempts, delivery) == attempt then
    owned[#owned + 1] = delivery
  else
    lost[#lost + 1] = delivery
  end
end

redis.call('ZREM', deadlines, '')  -- so that it works at maxmemory: see take.lua

if #owned > 0 then
  if dead then
    redis.call('LPUSH', dead, unpack(redis.call('HMGET', messages, unpack(owned))))
  end
  redis.call('HDEL', messages, unpack(owned))
  redis.call('HDEL', attempts, unpack(owned))
  redis.call('ZREM', deadlines, unpack(owned))
end

return lost
