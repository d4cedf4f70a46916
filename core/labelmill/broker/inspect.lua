-- Where the jobs of one queue are, in one atomic step: when the oldest of each list say that they were
-- sent, and, if asked, which jobs are leased, or were to be by now, and which wait at the end of a list
-- from which they are taken, and to which a worker gives them back. message.lua stands before it.
--
-- KEYS  messages, deadlines, delayed, list, list, …
-- ARGV  how many messages of a list to ask when they were sent, held (1 or 0)
-- Returns  server time in µs, {for each list: {when one was sent, …}}, {JSON string of a leased job's
--          id, …}, {of one that may have been given back, …}

local messages, deadlines, delayed = KEYS[1], KEYS[2], KEYS[3]
local asked, with_held = tonumber(ARGV[1]), ARGV[2] == '1'
local FIRST_LIST = 4
local MOST_GIVEN_BACK, MOST_BYTES = 1000, 4 * 1024 * 1024

local clock = redis.call('TIME')

local function sent_at(message)
  local head = string.sub(message, -ENDING)
  return string.match(head, '"sent_at":%s*"([^"]*)"') or string.match(head, '"enqueued_at":%s*"([^"]*)"')
end

local lists = {}
for key = FIRST_LIST, #KEYS do
  local found = {}
  for i = 1, math.min(asked, redis.call('LLEN', KEYS[key])) do
    found[#found + 1] = sent_at(redis.call('LINDEX', KEYS[key], -i))
  end
  lists[#lists + 1] = found
end

local leased, given_back = {}, {}
if with_held then
  local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
  for _, delivery in ipairs(redis.call('ZRANGE', deadlines, 0, -1)) do
    leased[#leased + 1] = id_of(redis.call('HGET', messages, delivery) or '')
  end
  -- The rest has an eta that has not come: nobody misses it yet.
  for _, delivery in ipairs(redis.call('ZRANGEBYSCORE', delayed, '-inf', now)) do
    leased[#leased + 1] = id_of(redis.call('HGET', messages, delivery) or '')
  end
  for key = FIRST_LIST, #KEYS do
    local bytes = 0
    for i = 1, MOST_GIVEN_BACK do
      local message = bytes < MOST_BYTES and redis.call('LINDEX', KEYS[key], -i)
      if not message then
        break
      end
      bytes = bytes + #message
      given_back[#given_back + 1] = id_of(message)
    end
  end
end

return {string.format('%.0f', clock[1] * 1000000 + clock[2]), lists, leased, given_back}
