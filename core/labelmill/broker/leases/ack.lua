-- Acknowledge jobs whose rows are committed, and forget them; with a list of dead letters named,
-- their messages are kept there. A lease that was lost is left alone: it is another worker's.
-- What is said of the jobs goes onto the stream of announcements, also of those whose lease was
-- lost: their rows are committed, and a server that lost its data knows no lease any more.
--
-- KEYS  messages, attempts, deadlines, excused, stream [, dead, the set of such lists]
-- ARGV  announcement, or nothing; the most entries of the stream; delivery, attempt, …
-- Returns  the deliveries whose lease was lost, and why the announcement was not made, or nothing

local messages, attempts, deadlines, excused, stream, dead, dead_lists = unpack(KEYS)
local announcement, bound = ARGV[1], ARGV[2]
local owned, lost, refusal = {}, {}, ''

-- Before all other writes: a server at its maxmemory refuses this one while it is the first, and
-- would let it grow after one that frees memory. Whatever is wrong with it, the jobs are
-- acknowledged.
if announcement ~= '' then
  local reply = redis.pcall('XADD', stream, 'MAXLEN', '~', bound, '*', 'jobs', announcement)
  if type(reply) == 'table' and reply.err then
    refusal = reply.err
    -- At that limit the oldest announcements make room for jobs: otherwise, on a server that they
    -- have filled, no producer could send a job by whose acknowledgement they would grow old.
    local length = redis.pcall('XLEN', stream)
    if type(length) == 'number' then
      redis.pcall('XTRIM', stream, 'MAXLEN', '~', math.max(0, length - 100))
    end
  end
end

for i = 3, #ARGV, 2 do
  local delivery, attempt = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', attempts, delivery) == attempt then
    owned[#owned + 1] = delivery
  else
    lost[#lost + 1] = delivery
  end
end

redis.call('ZREM', deadlines, '')  -- so that it works at maxmemory: see take.lua

if #owned > 0 then
  if dead then
    redis.call('SADD', dead_lists, dead)
    redis.call('LPUSH', dead, unpack(redis.call('HMGET', messages, unpack(owned))))
  end
  redis.call('HDEL', messages, unpack(owned))
  redis.call('HDEL', attempts, unpack(owned))
  redis.call('HDEL', excused, unpack(owned))
  redis.call('ZREM', deadlines, unpack(owned))
end

return {lost, refusal}
