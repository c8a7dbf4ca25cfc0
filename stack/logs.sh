#!/bin/sh
# logs.sh: prints the logs of the stack, in which the name of each secret of .env stands in the place of its value.
set -eu
docker compose --profile '*' logs --no-color --timestamps 2>&1 | awk '
  BEGIN {
    while ((getline line < ".env") > 0) {
      name = value = line
      sub(/=.*/, "", name); sub(/^[^=]*=/, "", value)
      gsub(/^["\047]|["\047]$/, "", value)
      # Of user:password, the password.
      if (name ~ /AUTH_STRING$/) sub(/^[^:]*:/, "", value)
      if (name ~ /PASSWORD|SECRET|KEY|AUTH/ && length(value) >= 8) secret[value] = name
    }
  }
  {
    for (value in secret) while (at = index($0, value))
      $0 = substr($0, 1, at - 1) "[" secret[value] "]" substr($0, at + length(value))
    print
  }'
