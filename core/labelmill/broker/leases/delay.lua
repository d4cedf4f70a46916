-- Put a job aside until its eta. It has never been started, so no attempt counts.
--
-- KEYS  attempts, deadlines, delayed, excused
-- ARGV  delivery, attempt, eta in ms of the server's clock
-- Returns  1, or 0 where the lease was lost

local attempts, deadlines, delayed, excused = unpack(KEYS)
local delivery, attempt, eta = ARGV[1], ARGV[2], ARGV[3]

if redis.call('HGET', attempts, delivery) ~= attempt then
  return 0
end
redis.call('ZREM', deadlines, delivery)
redis.call('HSET', attempts, delivery, 0)
redis.call('HDEL', excused, delivery)
redis.call('ZADD', delayed, eta, delivery)
return 1
