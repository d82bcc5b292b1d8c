#!/bin/sh
# Runs the client application with the TA's log beside it, so that `kubectl logs` shows both.
set -u

/usr/bin/tlogcat -f &
log=$!
/vendor/bin/demo-ca "$@" &
application=$!

trap 'kill "$application" 2>/dev/null' TERM INT
wait "$application"
status=$?
# A signal ends the first wait before the application has ended.
while kill -0 "$application" 2>/dev/null; do
  wait "$application"
  status=$?
done
kill "$log" 2>/dev/null
exit "$status"
