-- Note that a worker has the group that it was handed, and begins with it: from now on a lease that
-- expires counts as an attempt.
--
-- KEYS  unstarted
-- ARGV  the worker, the number of its call
-- Returns  1, or 0 where it is not known: it was started before, or its lease has ended

local kept = redis.call('HGET', KEYS[1], ARGV[1])
if kept and string.match(kept, '^%d+') == ARGV[2] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  return 1
end
return 0
