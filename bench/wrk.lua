-- Prints the result of a run as one line of JSON, with latencies in microseconds.
done = function(summary, latency, requests)
  local errors = summary.errors
  local kinds = string.format(
    '{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}',
    errors.connect, errors.read, errors.write, errors.status, errors.timeout
  )
  io.write(string.format(
    '\n{"requests":%d,"duration":%d,"bytes":%d,"p50":%d,"p99":%d,"errors":%s}\n',
    summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99), kinds
  ))
end
