-- Take up to n jobs of one queue and lease them. Nothing is popped before it is recorded: this whole
-- script is one atomic step.
--
-- In this order:
--   1. what this very call brought before, if its reply was lost: the same group again;
--   2. a lease that has expired: its worker died, or lost its way. The job may be what killed the
--      worker, so it is handed out alone, and only to a worker that holds nothing else (claim = 1);
--      for any other worker the script takes nothing and says how many wait, so that it empties
--      its hands and comes back;
--   3. delayed jobs whose eta has come;
--   4. new jobs, from the lists in their order, oldest first.
--
-- A group that is handed out is kept in `unstarted`: "call delivery count attempt list …" for so many
-- deliveries from that one on, or "call+ …" once its worker has said that it has it (start.lua). If its
-- lease expires before, nobody has begun with its jobs: they go back as if never taken.
--
-- KEYS  messages, attempts, deadlines, delayed, deliveries, unstarted, excused, seen, list, list, …
-- ARGV  n, lease in ms, claim (1 or 0), the worker, the number of its call: the same for a repetition
-- Returns  server time in ms, expired leases left unclaimed, time in ms of the next deadline or
--          eta (0 for none), {delivery, attempt, number of its list, message, …}, {delivery, its
--          excused attempts, …}

local messages, attempts, deadlines, delayed, deliveries, unstarted, excused, seen = unpack(KEYS, 1, 8)
local FIRST_LIST = 9
local n, lease, claim = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local worker, call = ARGV[4], ARGV[5]

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local taken, record, forgiven = {}, {call}, {}
local usual = math.max(lease / 2, 2000)  -- how long `seen` lasts

-- A server at its maxmemory refuses a script whose first write may need memory, and lets one go on
-- whose first write frees some: without this no expired lease could be claimed there.
redis.call('ZREM', deadlines, '')

local function hand_out(delivery, attempt, list, message)
  local size = #taken
  taken[size + 1] = delivery
  taken[size + 2] = attempt
  taken[size + 3] = list
  taken[size + 4] = message
  if attempt > 1 then
    local attempts_excused = redis.call('HGET', excused, delivery)
    if attempts_excused then
      forgiven[#forgiven + 1] = delivery
      forgiven[#forgiven + 1] = attempts_excused
    end
  end
end

local function keep(delivery, count, attempt, list)
  record[#record + 1] = table.concat({delivery, count, attempt, list}, ' ')
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
  if redis.call('ZCARD', deadlines) > 0 and redis.call('PTTL', seen) < usual / 2 then
    redis.call('SET', seen, 1, 'PX', string.format('%.0f', usual))
  end
  if #taken > 0 then
    redis.call('HSET', unstarted, worker, table.concat(record, ' '))
  elseif redis.call('EXISTS', unstarted) == 1 and redis.call('ZCARD', deadlines) == 0 then
    redis.call('DEL', unstarted)  -- of workers that died when all their jobs were done
  end
  -- Times go back as strings: Lua would send a number of this size through a 32-bit conversion
  -- on some builds, and never as a fraction.
  return {string.format('%.0f', now), expired, string.format('%.0f', math.ceil(next_due())), taken, forgiven}
end

-- The deliveries of a record that are still as it says: delivery, attempt, list, …
local function still_leased(kept)
  local found = {}
  for first, count, attempt, list in string.gmatch(kept, ' (%d+) (%d+) (%d+) (%d+)') do
    for i = 0, count - 1 do
      local delivery = string.format('%.0f', first + i)
      if redis.call('HGET', attempts, delivery) == attempt then
        found[#found + 1] = {delivery, attempt, list}
      end
    end
  end
  return found
end

local function take_again(kept)
  for _, each in ipairs(still_leased(kept)) do
    local delivery, attempt, list = unpack(each)
    redis.call('ZADD', deadlines, now + lease, delivery)
    hand_out(delivery, tonumber(attempt), tonumber(list), redis.call('HGET', messages, delivery) or '')
    keep(delivery, 1, attempt, list)
  end
end

local function is_started(kept)
  return string.find(kept, '^%d+%+') ~= nil
end

-- Give back the groups whose lease ended before their worker began with them.
local function restore_unstarted()
  local unbegun, ended = {}, {}
  local records = redis.call('HGETALL', unstarted)
  for i = 1, #records, 2 do
    local group = still_leased(records[i + 1])
    local deadline = group[1] and tonumber(redis.call('ZSCORE', deadlines, group[1][1]) or 0)
    if not deadline or deadline <= now then
      for _, each in ipairs(is_started(records[i + 1]) and {} or group) do
        unbegun[#unbegun + 1] = each
      end
      ended[#ended + 1] = records[i]
    end
  end
  -- The newest first, so that the oldest ends at the head.
  table.sort(unbegun, function(one, other) return tonumber(one[1]) > tonumber(other[1]) end)
  for _, each in ipairs(unbegun) do
    local delivery, attempt, list = unpack(each)
    if attempt == '1' then
      redis.call('RPUSH', KEYS[FIRST_LIST - 1 + list], redis.call('HGET', messages, delivery))
      redis.call('HDEL', messages, delivery)
      redis.call('HDEL', attempts, delivery)
      redis.call('ZREM', deadlines, delivery)
    else
      redis.call('HSET', excused, delivery,
        (redis.call('HGET', excused, delivery) or ' ') .. attempt .. ' ')
      redis.call('ZADD', deadlines, 0, delivery)
    end
  end
  for _, each in ipairs(ended) do
    redis.call('HDEL', unstarted, each)
  end
end

-- Where nobody could ask for a while, most likely nobody could renew either: a server that stood
-- still for longer than a lease must not take all workers for dead. They get a moment to renew, once:
-- a deadline that was put off has half a millisecond in it, until it is renewed.
local function forgive_a_standstill()
  if redis.call('EXISTS', seen) == 1 then
    return
  end
  local late = redis.call('ZRANGEBYSCORE', deadlines, '(0', now, 'WITHSCORES')
  for i = 1, #late, 2 do
    if tonumber(late[i + 1]) % 1 == 0 then
      redis.call('ZADD', deadlines, string.format('%.1f', now + math.min(lease, 3000) + 0.5), late[i])
    end
  end
end

-- A key of another application under one of our names has to be met before anything is popped: what
-- a script has done before it fails stays done.
redis.call('HEXISTS', messages, '')
redis.call('HEXISTS', attempts, '')
redis.call('HEXISTS', excused, '')
local last_delivery = tonumber(redis.call('GET', deliveries) or '0')

local kept = redis.call('HGET', unstarted, worker)
if kept and string.match(kept, '^%d+') == call then
  take_again(kept)
  if #taken > 0 then
    return reply(0)
  end
elseif kept then
  redis.call('HDEL', unstarted, worker)  -- who asks for the next group has the last one
end

forgive_a_standstill()

local expired = redis.call('ZCOUNT', deadlines, '-inf', now)
if expired > 0 and redis.call('EXISTS', unstarted) == 1 then
  restore_unstarted()
  expired = redis.call('ZCOUNT', deadlines, '-inf', now)
end
if expired > 0 then
  if not claim then
    return reply(expired)
  end
  local delivery = redis.call('ZRANGE', deadlines, 0, 0)[1]
  local attempt = redis.call('HINCRBY', attempts, delivery, 1)
  redis.call('ZADD', deadlines, now + lease, delivery)
  hand_out(delivery, attempt, 1, redis.call('HGET', messages, delivery) or '')
  keep(delivery, 1, attempt, 1)
  return reply(expired - 1)
end

for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, n)) do
  local attempt = redis.call('HINCRBY', attempts, delivery, 1)
  redis.call('ZREM', delayed, delivery)
  redis.call('ZADD', deadlines, now + lease, delivery)
  hand_out(delivery, attempt, 1, redis.call('HGET', messages, delivery) or '')
  keep(delivery, 1, attempt, 1)
  n = n - 1
end

for key = FIRST_LIST, #KEYS do
  if n <= 0 then
    break
  end
  local popped = redis.pcall('RPOP', KEYS[key], n)
  if popped and popped.err then
    -- That list is another application's; what came of the others is handed out.
    if #taken == 0 then
      return popped
    end
    break
  end
  if popped and #popped > 0 then
    -- Numbers grow with time, so that a server which lost its data gives none a second time: the
    -- workers may still hold, and acknowledge, the old ones.
    local microseconds = clock[1] * 1000000 + clock[2]
    if last_delivery < microseconds then
      redis.call('SET', deliveries, string.format('%.0f', microseconds))
    end
    local first = redis.call('INCRBY', deliveries, #popped) - #popped
    last_delivery = first + #popped
    keep(string.format('%.0f', first + 1), #popped, 1, key - FIRST_LIST + 1)
    local new_messages, new_attempts, new_deadlines = {}, {}, {}
    for i, message in ipairs(popped) do
      local delivery = string.format('%.0f', first + i)
      new_messages[2 * i - 1], new_messages[2 * i] = delivery, message
      new_attempts[2 * i - 1], new_attempts[2 * i] = delivery, 1
      new_deadlines[2 * i - 1], new_deadlines[2 * i] = now + lease, delivery
      hand_out(delivery, 1, key - FIRST_LIST + 1, message)
    end
    redis.call('HSET', messages, unpack(new_messages))
    redis.call('HSET', attempts, unpack(new_attempts))
    redis.call('ZADD', deadlines, unpack(new_deadlines))
    n = n - #popped
  end
end

return reply(0)
