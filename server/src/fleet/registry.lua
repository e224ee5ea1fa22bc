-- A pod says that it lives: its entry lasts for so many milliseconds, and so does its place in the list. 0 takes both away.
-- KEYS: its entry, the list. Arguments: the pod, its entry, the lease. Answers how many pods live.
local lease = tonumber(ARGV[3])
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if lease > 0 then
  redis.call("SET", KEYS[1], ARGV[2], "PX", lease)
  redis.call("ZADD", KEYS[2], now + lease, ARGV[1])
  redis.call("PEXPIRE", KEYS[2], lease)
else
  redis.call("DEL", KEYS[1])
  redis.call("ZREM", KEYS[2], ARGV[1])
end
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", now)
return {redis.call("ZCARD", KEYS[2])}
