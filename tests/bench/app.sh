#!/bin/bash
# Writes when it was executed to the file $1, then becomes the app. EPOCHREALTIME costs no process and tells microseconds.
echo "exec $EPOCHREALTIME" > "$1"
exec /usr/bin/python3 -I -S "${0%.sh}.py" "$1"
