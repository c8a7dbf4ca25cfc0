#!/bin/sh
# restore.sh FOLDER: restores a backup into this stopped stack, which has its own .env; `make up` then starts it. A stack that holds data
# is refused, unless FORCE=1: then its databases are replaced, after the whole backup was read, and its objects stay beside the new ones.
set -eu
fail() { echo "not restored: $*" >&2; exit 1; }
quiet() { docker compose --progress quiet "$@"; }
compose() { quiet "$@" < /dev/null; }
job() { quiet run --rm --no-deps -T "$@"; }
ask() { compose exec -T postgres psql -U postgres -v ON_ERROR_STOP=1 -Atq -d "$1" -c "SET client_min_messages TO warning" -c "$2"; }
sums() { if command -v sha256sum > /dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

[ -n "${1:-}" ] || fail "name a backup: make restore FROM=backups/TIME"
folder=$(cd "$1" 2> /dev/null && pwd) || fail "no such folder: $1"
cd "$(dirname "$0")/.."

# 1. Is the backup complete, and not newer than this stack?
[ -f "$folder/SHA256SUMS" ] || fail "$folder is not a finished backup: it has no SHA256SUMS"
for file in closedloop.dump mlflow.dump prefect.dump bucket.tar manifest.txt; do
  grep -q "  $file\$" "$folder/SHA256SUMS" || fail "$folder/SHA256SUMS does not name $file"
done
if ! said=$(cd "$folder" && LC_ALL=C sums --strict -c SHA256SUMS 2>&1); then
  damaged=$(echo "$said" | sed -n 's/: FAILED.*//p' | sort -u | tr '\n' ' ')
  fail "damaged: ${damaged:-SHA256SUMS }in $folder; use another backup"
fi
others=$(compose ps --services --status running | grep -vxE 'postgres|s3|' | tr '\n' ' ') || true
[ -z "$others" ] || fail "the stack is running (${others% }): run make down first"
# A revision without a file in this image is newer than the image.
newer=$(sed -n 's/^schema //p' "$folder/manifest.txt" | job databases sh -c '
  cd /opt/closedloop/lib/python3*/site-packages
  while read -r database table revision; do
    case $database in
      closedloop) place=closedloop ;;
      mlflow) place="mlflow/store mlflow/server/auth" ;;
      prefect) place=prefect/server ;;
    esac
    grep -rqE --include="*.py" "^revision( *:[^=]*)? *= *.$revision.( |$)" $place || echo "$database ($table $revision)"
  done') || fail "the image of the stack does not start: run make up, which builds it"
[ -z "$newer" ] || fail "the backup is from newer programs than this stack:" $newer"; update the stack first"

# 2. Is this stack empty?
compose up --detach --wait postgres s3
job databases < /dev/null > /dev/null || fail "PostgreSQL does not answer, or refuses the passwords of .env"
full=
for name in closedloop mlflow prefect; do
  tables=$(ask "$name" "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
  [ "$tables" -eq 0 ] || full="$full $name ($tables tables)"
done
[ -z "$full" ] || [ "${FORCE:-}" = 1 ] || fail "this stack holds data:$full; FORCE=1 replaces it"

# 3. Load the databases under other names, and add the objects, whose keys are unique.
state='the databases are unchanged; fix the error above and try again'
trap 'exit 1' HUP INT TERM
trap '[ $? -eq 0 ] || echo "not restored: $state" >&2' EXIT
for name in closedloop mlflow prefect; do
  ask postgres "DROP DATABASE IF EXISTS ${name}_restored WITH (FORCE)"
  ask postgres "CREATE DATABASE ${name}_restored OWNER $name"
  quiet exec -T postgres pg_restore -U postgres --no-owner --no-acl --role="$name" --exit-on-error --single-transaction -d "${name}_restored" \
    < "$folder/$name.dump"
done
quiet exec -T postgres psql -U postgres -v ON_ERROR_STOP=1 -q --single-transaction -d prefect_restored < stack/ended_runs.sql
# MLflow's server does not always upgrade older tables; Prefect's server does, and so does the job `upgrade` for ours.
said=$(job mlflow mlflow db upgrade postgresql+psycopg://mlflow@postgres:5432/mlflow_restored 2>&1 < /dev/null) || { echo "$said" >&2; exit 1; }
job s3-init python /app/jobs/bucket.py load < "$folder/bucket.tar"

# 4. Replace the databases.
state='the stack is incomplete; fix the error above and try again with FORCE=1'
for name in closedloop mlflow prefect; do
  ask postgres "DROP DATABASE $name WITH (FORCE)"
  ask postgres "ALTER DATABASE ${name}_restored RENAME TO $name"
done
# Again, because a dump has no rights of a database, and MLflow's users have the passwords of the old stack.
job databases < /dev/null > /dev/null
said=$(job mlflow-tables 2>&1 < /dev/null) || { echo "$said" >&2; exit 1; }
# Concurrency slots of runs that were in progress here.
job prefect-server sh -c 'rm -rf /var/lib/closedloop/prefect/concurrency_leases' < /dev/null
if [ -f "$folder/api_keys.json" ]; then
  job api sh -c 'cd /var/lib/closedloop && cat > .restored && chmod 600 .restored && mv .restored api_keys.json' < "$folder/api_keys.json"
fi
if [ -f "$folder/windows.tar" ]; then
  job prefect-worker tar -C /windows --no-same-owner --no-overwrite-dir -x < "$folder/windows.tar"
fi
trap - EXIT
echo "restored $(sed -n 's/^made //p' "$folder/manifest.txt"): run make up to start it"
