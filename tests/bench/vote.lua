-- wrk: a vote of another voter each time. Arguments: the file with the token.
local counter = 0
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("id", threads)
end

function init(args)
  local file = assert(io.open(args[1]))
  headers = { ["Authorization"] = "Bearer " .. file:read("l"), ["Content-Type"] = "application/json" }
  file:close()
  run = string.format("%x", os.time()) .. math.random(1000000)
end

function request()
  counter = counter + 1
  local body = string.format('{"username":"%s-%d-%d","vote":"up","timestamp":"%s"}', run, id, counter,
    os.date("!%Y-%m-%dT%H:%M:%SZ", os.time() + 3600))
  return wrk.format("POST", nil, headers, body)
end
