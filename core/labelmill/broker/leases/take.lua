-- Take up to n jobs of one queue and lease them. Nothing is popped before it is recorded: this whole
-- script is one atomic step.
--
-- In this order:
--   1. a lease that has expired: its worker died, or lost its way. The job may be what killed the
--      worker, so it is handed out alone, and only to a worker that holds nothing else (claim = 1);
--      for any other worker the script takes nothing and says how many wait, so that it empties
--      its hands and comes back;
--   2. delayed jobs whose eta has come;
--   3. new jobs, from the lists in their order, oldest first.
--
-- KEYS  messages, attempts, deadlines, delayed, deliveries, list, list, …
-- ARGV  n, lease in ms, claim (1 or 0)
-- Returns  server time in ms, expired leases left unclaimed, time in ms of the next deadline or
--          eta (0 for none), {delivery, attempt, number of its list, message, …}

local messages, attempts, deadlines, delayed, deliveries = unpack(KEYS, 1, 5)
local n, lease, claim = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local taken = {}

-- A server at its maxmemory refuses a script whose first write may need memory, and lets one go on
-- whose first write frees some: without this no expired lease could be claimed there.
redis.call('ZREM', deadlines, '')

local function hand_out(delivery, attempt, list, message)
  local size = #taken
  taken[size + 1] = delivery
  taken[size + 2] = attempt
  taken[size + 3] = list
  taken[size + 4] = message
end

local function next_due()
  local first = 0
  for _, set in ipairs({deadlines, delayed}) do
    local earliest = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if earliest[2] and (first == 0 or tonumber(earliest[2]) < first) then
      first = tonumber(earliest[2])
    end
  end
  return first
end

local function reply(expired)
  -- Times go back as strings: Lua would send a number of this size through a 32-bit conversion
  -- on some builds, and never as a fraction.
  return {string.format('%.0f', now), expired, string.format('%.0f', next_due()), taken}
end

local expired = redis.call('ZCOUNT', deadlines, '-inf', now)
if expired > 0 then
  if not claim then
    return reply(expired)
  end
  local delivery = redis.call('ZRANGE', deadlines, 0, 0)[1]
  local attempt = redis.call('HINCRBY', attempts, delivery, 1)
  redis.call('ZADD', deadlines, now + lease, delivery)
  hand_out(delivery, attempt, 1, redis.call('HGET', messages, delivery) or '')
  return reply(expired - 1)
end

for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, n)) do
  local attempt = redis.call('HINCRBY', attempts, delivery, 1)
  redis.call('ZREM', delayed, delivery)
  redis.call('ZADD', deadlines, now + lease, delivery)
  hand_out(delivery, attempt, 1, redis.call('HGET', messages, delivery) or '')
  n = n - 1
end

for key = 6, #KEYS do
  if n <= 0 then
    break
  end
  local popped = redis.call('RPOP', KEYS[key], n)
  if popped and #popped > 0 then
    -- Numbers grow with time, so that a server which lost its data gives none a second time: the
    -- workers may still hold, and acknowledge, the old ones.
    local microseconds = clock[1] * 1000000 + clock[2]
    if tonumber(redis.call('GET', deliveries) or '0') < microseconds then
      redis.call('SET', deliveries, string.format('%.0f', microseconds))
    end
    local first = redis.call('INCRBY', deliveries, #popped) - #popped
    local new_messages, new_attempts, new_deadlines = {}, {}, {}
    for i, message in ipairs(popped) do
      local delivery = string.format('%.0f', first + i)
      new_messages[2 * i - 1], new_messages[2 * i] = delivery, message
      new_attempts[2 * i - 1], new_attempts[2 * i] = delivery, 1
      new_deadlines[2 * i - 1], new_deadlines[2 * i] = now + lease, delivery
      hand_out(delivery, 1, key - 5, message)
    end
    redis.call('HSET', messages, unpack(new_messages))
    redis.call('HSET', attempts, unpack(new_attempts))
    redis.call('ZADD', deadlines, unpack(new_deadlines))
    n = n - #popped
  end
end

return reply(0)
