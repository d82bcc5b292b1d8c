#!/bin/sh
# Runs the client application with the TA's log beside it, so that `kubectl logs` shows both.
set -u

/usr/bin/tlogcat -f &
log=$!
application=
stopped=
trap 'stopped=yes; kill "$application" 2>/dev/null' TERM INT
/vendor/bin/demo-ca "$@" &
application=$!

wait "$application"
status=$?
# A signal ends the wait with a status of its own: wait again for the application's.
while [ -n "$stopped" ] && [ "$status" -gt 128 ]; do
  stopped=
  wait "$application"
  status=$?
done
kill "$log" 2>/dev/null
exit "$status"
