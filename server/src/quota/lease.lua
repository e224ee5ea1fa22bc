-- One pod's exchange about one tenant: it says what it holds and needs, and is told what it may have.
--
-- Everything a tenant counts lives in one slot:
--   KEYS[1]  the pods: "#..." is the fleet's own, every other field is a holder, "expires granted used sequence" and its rates
--   KEYS[2]  users, KEYS[3] rooms: name -> "holder=count holder=count"; a count of a holder without a record counts nothing
-- A holder is one lease of one pod. A pod whose lease ran out comes back as another holder, so that nothing old revives.
--
-- Time is what the servers' own exchanges prove to have passed: Redis' clock, but never more than STEP_MAX from one exchange to the
-- next. A clock that jumps then ages no lease by more than that.
local LEASE, STEP_MAX, GRACE, TIGHT, KEEP, SWEEP = 8000, 3000, 2500, 4000, 3600000, 500

local pods_key, users_key, rooms_key = KEYS[1], KEYS[2], KEYS[3]
local holder, full, claim = ARGV[1], ARGV[3] == "1", ARGV[4] == "1"
local ended = {}
for name in string.gmatch(ARGV[2], "%S+") do
  ended[name] = true
end
local fleet_pods = tonumber(ARGV[5])
local connections_max, held, need, wish = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local users_max, rooms_max, members_max = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local sequence, acknowledged = tonumber(ARGV[13]), tonumber(ARGV[14])
local rates = tonumber(ARGV[15])
local lists = 16 + rates

local time = redis.call("TIME")
local wall = time[1] * 1000 + math.floor(time[2] / 1000)

-- What is there.
local own = {}
local live, count = {}, 0
local dead = {}
local all = redis.call("HGETALL", pods_key)
for index = 1, #all, 2 do
  local name, value = all[index], all[index + 1]
  if string.sub(name, 1, 1) == "#" then
    own[name] = value
  elseif ended[name] then
    dead[#dead + 1] = name
  else
    local numbers = {}
    for number in string.gmatch(value, "%d+") do
      numbers[#numbers + 1] = tonumber(number)
    end
    live[name] = numbers
  end
end
local seen = tonumber(own["#seen"] or wall)
local clock = tonumber(own["#clock"] or 0) + math.max(0, math.min(wall - seen, STEP_MAX))
for name, numbers in pairs(live) do
  if numbers[1] <= clock then
    dead[#dead + 1] = name
    live[name] = nil
  else
    count = count + 1
  end
end

local writes = {"#clock", clock, "#seen", wall}
local function write(field, value)
  writes[#writes + 1] = field
  writes[#writes + 1] = value
end
local function finish()
  if #dead > 0 then
    redis.call("HDEL", pods_key, unpack(dead))
  end
  redis.call("HSET", pods_key, unpack(writes))
  if not own["#seen"] or math.floor(seen / 60000) ~= math.floor(wall / 60000) then
    redis.call("PEXPIRE", pods_key, KEEP)
    redis.call("PEXPIRE", users_key, KEEP)
    redis.call("PEXPIRE", rooms_key, KEEP)
  end
end

-- A pod that goes names no new holder. Whoever goes last takes all names along, for nobody would come by to sweep.
if holder == "" then
  if count == 0 then
    redis.call("UNLINK", users_key, rooms_key)
    dead[#dead + 1] = "#sweep"
  else
    write("#sweep", "u0")
  end
  finish()
  return {0}
end

-- Whoever only looks changes nothing.
if holder == "?" then
  local used, sums = 0, {}
  for rate = 1, rates do
    sums[rate] = 0
  end
  for _, numbers in pairs(live) do
    used = used + numbers[3]
    for rate = 1, rates do
      sums[rate] = sums[rate] + (numbers[4 + rate] or 0)
    end
  end
  return {1, count, 0, used, used, 0, 0, 0, redis.call("HLEN", users_key), redis.call("HLEN", rooms_key), unpack(sums)}
end

-- A pod that Redis does not know any more tells everything it holds. So does one whose last words Redis has forgotten, because a
-- replica took over that had not heard them.
if not full and (not live[holder] or live[holder][4] < acknowledged) then
  if #dead > 0 then
    write("#sweep", "u0")
  end
  finish()
  return {0}
end
if not live[holder] then
  count = count + 1
end
-- What was overtaken on the way says nothing any more.
if live[holder] and live[holder][4] >= sequence then
  return {0}
end
live[holder] = live[holder] or {}

-- The counts of a name: what others hold, what this holder has, and the text of the others.
local function read(value)
  local others, have, text = 0, 0, ""
  if value then
    for name, number in string.gmatch(value, "([^= ]+)=(%d+)") do
      if name == holder then
        have = tonumber(number)
      elseif live[name] then
        others = others + tonumber(number)
        text = text .. name .. "=" .. number .. " "
      end
    end
  end
  return others, have, text
end

-- What may be had of `max` while others have `others`. What is held stays, unless it is only claimed.
local function grant(max, others, holds, needs)
  if max < 0 then
    return needs
  end
  local free = math.max(0, max - others)
  local base = holds
  if claim then
    base = math.min(holds, free)
  end
  return math.max(base, math.min(needs, free))
end

-- Names that only dead holders hold are taken out, a few at a time.
local sweep = own["#sweep"]
if #dead > 0 then
  sweep = "u0"
end
local function sweep_some()
  local key = string.sub(sweep, 1, 1) == "u" and users_key or rooms_key
  local page = redis.call("HSCAN", key, string.sub(sweep, 2), "COUNT", SWEEP)
  for index = 1, #page[2], 2 do
    local others, have, text = read(page[2][index + 1])
    if have > 0 then
      text = text .. holder .. "=" .. have
    end
    if text == "" then
      redis.call("HDEL", key, page[2][index])
    elseif text ~= page[2][index + 1] then
      redis.call("HSET", key, page[2][index], text)
    end
  end
  if page[1] ~= "0" then
    sweep = string.sub(sweep, 1, 1) .. page[1]
  elseif key == users_key then
    sweep = "r0"
  else
    sweep = nil
  end
end
for _ = 1, 4 do
  if sweep then
    sweep_some()
  end
end

-- Users.
local users, rooms = tonumber(ARGV[lists]), tonumber(ARGV[lists + 1])
local argument = lists + 2
local answers = {}
local lacking = false
local function put(key, name, text, number)
  if number > 0 then
    redis.call("HSET", key, name, text .. holder .. "=" .. number)
  elseif text ~= "" then
    redis.call("HSET", key, name, text)
  else
    redis.call("HDEL", key, name)
  end
end
for _ = 1, users do
  local name, holds, needs = ARGV[argument], tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2])
  argument = argument + 3
  local others, _, text = read(redis.call("HGET", users_key, name))
  local number = grant(users_max, others, holds, needs)
  put(users_key, name, text, number)
  if number < needs then
    lacking = true
    need = need - math.min(needs - number, needs - holds)
  end
  answers[#answers + 1] = number
  answers[#answers + 1] = others
end

-- Connections: a place for everybody who waits and whose user may have one more, and some in advance while there are plenty.
local others_granted, others_used = 0, 0
for name, numbers in pairs(live) do
  if name ~= holder then
    others_granted = others_granted + numbers[2]
    others_used = others_used + numbers[3]
  end
end
local granted = grant(connections_max, others_granted, held, need)
local held_back = 0
if connections_max >= 0 then
  -- Redis may just have lost what others hold, or been away: until they have told, nobody gets more than an even share.
  local grace = tonumber(own["#grace"] or GRACE)
  if full and claim then
    grace = clock + GRACE
    write("#grace", grace)
  end
  if clock < grace then
    local share = math.max(1, math.floor(connections_max / math.max(fleet_pods, count)))
    local base = claim and math.min(held, math.max(0, connections_max - others_granted)) or held
    local even = math.max(base, math.min(granted, share))
    if even < granted then
      held_back = 1
    end
    granted = even
  else
    local rest = connections_max - others_granted - granted
    if rest > 0 then
      granted = granted + math.min(wish, math.floor(rest / (2 * count)))
    end
  end
else
  granted = granted + wish
end
lacking = lacking or need > granted

-- Rooms: one that nobody is in yet has to fit, and to be allowed to come into being.
local rooms_alive = redis.call("HLEN", rooms_key)
for _ = 1, rooms do
  local name, holds, needs, may_create = ARGV[argument], tonumber(ARGV[argument + 1]), tonumber(ARGV[argument + 2]), ARGV[argument + 3] == "1"
  argument = argument + 4
  local value = redis.call("HGET", rooms_key, name)
  local others, have, text = read(value)
  local number, result = grant(members_max, others, holds, needs), 0
  if others == 0 and have == 0 and number > 0 then
    while sweep and rooms_max >= 0 and rooms_alive >= rooms_max do
      sweep_some()
      rooms_alive, value = redis.call("HLEN", rooms_key), redis.call("HGET", rooms_key, name)
    end
    local fits = rooms_max < 0 or rooms_alive - (value and 1 or 0) < rooms_max
    if holds > 0 and not claim then
      result = 0
    elseif not fits then
      number, result = 0, 2
    elseif holds == 0 and not may_create then
      number, result = 0, 3
    else
      result = 1
    end
  end
  put(rooms_key, name, text, number)
  rooms_alive = redis.call("HLEN", rooms_key)
  lacking = lacking or (number < needs and result ~= 3)
  answers[#answers + 1] = number
  answers[#answers + 1] = others
  answers[#answers + 1] = result
end

-- Places are scarce from the first refusal on, until there was none for a while: pods then give back at once.
local tight_for = 0
local tight_until, tight_since = tonumber(own["#tight"] or 0), tonumber(own["#tightsince"] or clock)
if tight_until <= clock then
  tight_since = clock
end
if lacking then
  write("#tight", clock + TIGHT)
  write("#tightsince", tight_since)
  tight_until = clock + TIGHT
end
if tight_until > clock then
  tight_for = clock - tight_since + 1
end

-- The record, and the sums of all.
local record = {clock + LEASE, granted, math.min(granted, need), sequence}
local sums = {}
for rate = 1, rates do
  record[4 + rate] = tonumber(ARGV[15 + rate])
  sums[rate] = record[4 + rate]
end
for name, numbers in pairs(live) do
  if name ~= holder then
    for rate = 1, rates do
      sums[rate] = sums[rate] + numbers[4 + rate]
    end
  end
end
write(holder, table.concat(record, " "))
if sweep then
  write("#sweep", sweep)
elseif own["#sweep"] then
  dead[#dead + 1] = "#sweep"
end
finish()

local reply = {
  1, count, granted, others_granted, others_used, tight_for, held_back, sweep and 1 or 0,
  redis.call("HLEN", users_key), redis.call("HLEN", rooms_key),
}
for rate = 1, rates do
  reply[#reply + 1] = sums[rate]
end
for _, answer in ipairs(answers) do
  reply[#reply + 1] = answer
end
return reply
