-- Where the jobs of one queue are, in one atomic step: when the oldest of each list say that they were
-- sent, and, if asked, which jobs are leased, or were to be by now, and which wait at the end of a list
-- from which they are taken, and to which a worker gives them back.
--
-- Of a message only the end is read, which has the headers and the properties but not the body: it may
-- hold an image.
--
-- KEYS  messages, deadlines, delayed, list, list, …
-- ARGV  how many messages of a list to ask when they were sent, held (1 or 0)
-- Returns  server time in µs, {for each list: {how many wait, when one was sent, …}}, {JSON string of
--          a leased job's id, …}, {of one that may have been given back, …}

local messages, deadlines, delayed = KEYS[1], KEYS[2], KEYS[3]
local asked, with_held = tonumber(ARGV[1]), ARGV[2] == '1'
local FIRST_LIST = 4
local MOST_GIVEN_BACK, MOST_BYTES = 1000, 4 * 1024 * 1024

local clock = redis.call('TIME')

-- More than the headers and properties of a job whose id and queue are as long as can be.
local function ending(message)
  return string.sub(message, -8192)
end

local function sent_at(message)
  local head = ending(message)
  return string.match(head, '"sent_at":%s*"([^"]*)"') or string.match(head, '"enqueued_at":%s*"([^"]*)"')
end

local lists = {}
for key = FIRST_LIST, #KEYS do
  local waiting = redis.call('LLEN', KEYS[key])
  local found = {waiting}
  for i = 1, math.min(asked, waiting) do
    found[#found + 1] = sent_at(redis.call('LINDEX', KEYS[key], -i))
  end
  lists[#lists + 1] = found
end

-- The last one: a header of that name may stand before the properties.
local function id_place(message)
  local place
  local from = math.max(1, #message - 8192)
  repeat
    local _, found = string.find(message, '"correlation_id":', from, true)
    place, from = found or place, (found or 0) + 1
  until not found
  return place
end

local leased, given_back = {}, {}
local function add(ids, message)
  local place = id_place(message)
  if place then
    ids[#ids + 1] = string.match(message, '^(".-"),"delivery_mode"', place + 1)
      or string.match(message, '^%s*("[^"]*")', place + 1)
  end
end
if with_held then
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  for _, delivery in ipairs(redis.call('ZRANGE', deadlines, 0, -1)) do
    add(leased, redis.call('HGET', messages, delivery) or '')
  end
  -- The rest has an eta that has not come: nobody misses it yet.
  for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now)) do
    add(leased, redis.call('HGET', messages, delivery) or '')
  end
  for key = FIRST_LIST, #KEYS do
    local bytes = 0
    for i = 1, MOST_GIVEN_BACK do
      local message = bytes < MOST_BYTES and redis.call('LINDEX', KEYS[key], -i)
      if not message then
        break
      end
      bytes = bytes + #message
      add(given_back, message)
    end
  end
end

return {string.format('%.0f', clock[1] * 1000000 + clock[2]), lists, leased, given_back}
