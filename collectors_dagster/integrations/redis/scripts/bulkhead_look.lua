-- Who holds permits (patterns/bulkhead_rules.py, _look). KEYS: leases; nothing is changed.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. string.format('%.0f', now), '+inf')
local processes, present = {}, 0
for _, name in ipairs(names) do
  local process = string.match(name, '^[^|]*|([^|]*)|')
  if not processes[process] then
    processes[process] = true
    present = present + 1
  end
end
return {#names, present}
