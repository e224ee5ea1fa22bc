-- A pod says that it lives: its entry lasts for so many milliseconds, and so does its place in the list.
-- KEYS: its entry, the list. Arguments: the pod, its entry, the lease. Answers how many pods live.
local time = redis.call("TIME")
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
redis.call("ZADD", KEYS[2], now + ARGV[3], ARGV[1])
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", now)
redis.call("PEXPIRE", KEYS[2], ARGV[3])
return {redis.call("ZCARD", KEYS[2])}
