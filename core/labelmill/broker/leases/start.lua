-- Note that a worker has the group that it was handed, and begins with it: from now on a lease that
-- expires counts as an attempt. The record stays until the worker's next call, which says the same.
--
-- KEYS  unstarted
-- ARGV  the worker, the number of its call
-- Returns  1, or 0 where there is nothing to note: its lease has ended, or it has called again

local worker, call = ARGV[1], ARGV[2]
local kept = redis.call('HGET', KEYS[1], worker)
if not kept or string.match(kept, '^%d+') ~= call then
  return 0
end
if string.sub(kept, #call + 1, #call + 1) ~= '+' then
  redis.call('HDEL', KEYS[1], '')  -- so that it works at maxmemory: see take.lua
  redis.call('HSET', KEYS[1], worker, call .. '+' .. string.sub(kept, #call + 1))
end
return 1
