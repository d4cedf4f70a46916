-- Where the jobs of one queue are, in one atomic step: since when the oldest of each list has
-- waited, and, if asked, which jobs are leased or were to be by now.
--
-- The lists are first in, first out, and only the client's own messages say when they were sent;
-- one of another's is skipped. Of a message only the end is read, which has the headers and the
-- properties but not the body: it may hold an image.
--
-- KEYS  messages, deadlines, delayed, list, list, …
-- ARGV  how many messages of a list to look at, leased (1 or 0)
-- Returns  server time in µs, {for each list: the time that its oldest message was sent, 'none'
--          waiting, or 'unknown'}, {JSON string of a leased job's id, …}

local messages, deadlines, delayed = KEYS[1], KEYS[2], KEYS[3]
local look, with_leased = tonumber(ARGV[1]), ARGV[2] == '1'

local clock = redis.call('TIME')

-- More than the headers and properties of a job whose id and queue are as long as can be.
local function ending(message)
  return string.sub(message, -8192)
end

local function sent_at(message)
  local head = ending(message)
  return string.match(head, '"sent_at":"([^"]*)"') or string.match(head, '"enqueued_at":"([^"]*)"')
end

local function waiting_since(list)
  for i = 1, look do
    local message = redis.call('LINDEX', list, -i)
    if not message then
      return 'none'
    end
    local moment = sent_at(message)
    if moment then
      return moment
    end
  end
  return 'unknown'
end

local lists = {}
for key = 4, #KEYS do
  lists[#lists + 1] = waiting_since(KEYS[key])
end

local leased = {}
local function add(deliveries)
  for _, delivery in ipairs(deliveries) do
    local message = redis.call('HGET', messages, delivery) or ''
    leased[#leased + 1] =
      string.match(ending(message), '"correlation_id":(".-"),"delivery_mode"')
  end
end
if with_leased then
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  add(redis.call('ZRANGE', deadlines, 0, -1))
  -- The rest has an eta that has not come: nobody misses it yet.
  add(redis.call('ZRANGEBYSCORE', delayed, '-inf', now))
end

return {string.format('%.0f', clock[1] * 1000000 + clock[2]), lists, leased}
