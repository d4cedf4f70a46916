-- Give back jobs that were not started, at once, as if they had never been taken. A first attempt
-- goes back to the head of its list; a later one stays where expired leases are claimed, so that
-- its attempt number is kept and it is again handed out alone.
--
-- KEYS  messages, attempts, deadlines, list, list, …
-- ARGV  delivery, attempt, number of its list, …; newest first, so that the oldest ends at the head
-- Returns  how many were given back

local messages, attempts, deadlines = KEYS[1], KEYS[2], KEYS[3]
local released = 0

redis.call('ZREM', deadlines, '')  -- so that it works at maxmemory: see take.lua

for i = 1, #ARGV, 3 do
  local delivery, attempt, list = ARGV[i], ARGV[i + 1], KEYS[3 + tonumber(ARGV[i + 2])]
  if redis.call('HGET', attempts, delivery) == attempt then
    if attempt == '1' then
      redis.call('RPUSH', list, redis.call('HGET', messages, delivery))
      redis.call('HDEL', messages, delivery)
      redis.call('HDEL', attempts, delivery)
      redis.call('ZREM', deadlines, delivery)
    else
      redis.call('HINCRBY', attempts, delivery, -1)
      redis.call('ZADD', deadlines, 0, delivery)
    end
    released = released + 1
  end
end

return released
