#!/bin/sh
# make-env.sh FILE: adds a random value for each secret that FILE lacks; existing values stay. Only its owner may read FILE, and the folder
# FILE.secrets, which has a file for each secret that an image reads from one.
set -eu
umask 077
file=$1
touch "$file"
chmod 600 "$file"
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
missing() { ! grep -q "^$1=." "$file"; }
made=
for name in POSTGRES_PASSWORD MLFLOW_DB_PASSWORD PREFECT_DB_PASSWORD CLOSEDLOOP_DB_PASSWORD CLOSEDLOOP_API_DB_PASSWORD S3_ACCESS_KEY S3_SECRET_KEY \
  MLFLOW_ADMIN_PASSWORD MLFLOW_PROMOTER_PASSWORD MLFLOW_TRAINER_PASSWORD MLFLOW_READER_PASSWORD MLFLOW_SECRET_KEY STACK_API_KEY GRAFANA_PASSWORD; do
  if missing "$name"; then echo "$name=$(random)" >> "$file"; made="$made $name"; fi
done
if missing PREFECT_AUTH_STRING; then echo "PREFECT_AUTH_STRING=admin:$(random)" >> "$file"; made="$made PREFECT_AUTH_STRING"; fi
# Compose's own default is ./.env.secrets.
[ "$file" = .env ] || grep -q "^STACK_KEYS_FOLDER=." "$file" || echo "STACK_KEYS_FOLDER=$(cd "$(dirname "$file")" && pwd)/$(basename "$file").secrets" >> "$file"
# In place, because a running container sees this file, not one that replaces it; readable in the closed folder, because its user owns none.
mkdir -p "$file.secrets"
chmod 700 "$file.secrets"
for name in POSTGRES_PASSWORD STACK_API_KEY GRAFANA_PASSWORD; do
  sed -n "s/^$name=//p" "$file" | tail -n 1 | sed "s/^\\(['\"]\\)\\(.*\\)\\1\$/\\2/" | tr -d '\n' > "$file.secrets/$name"
  chmod 644 "$file.secrets/$name"
done
[ -z "$made" ] || echo "wrote new secrets to $file:$made"
