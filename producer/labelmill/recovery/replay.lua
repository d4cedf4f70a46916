-- Put a new message into a queue in place of a dead letter, in one atomic step.
--
-- KEYS  dead, list
-- ARGV  the letter, the message
-- Returns  1, or 0 where the letter was gone

-- It frees memory first, so that it works at maxmemory.
if redis.call('LREM', KEYS[1], -1, ARGV[1]) == 0 then
  return 0
end
redis.call('LPUSH', KEYS[2], ARGV[2])
return 1
