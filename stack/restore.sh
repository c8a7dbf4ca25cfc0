#!/bin/sh
# restore.sh FOLDER: a backup into this stack, which is down and has .env of its own; `make up` then starts it. A stack that holds something
# is left alone, unless FORCE=1: then its databases are replaced, once all of the backup has been read, and its objects stay beside the new ones.
set -eu
fail() { echo "not restored: $*" >&2; exit 1; }
quiet() { docker compose --progress quiet "$@"; }
compose() { quiet "$@" < /dev/null; }
job() { quiet run --rm --no-deps -T "$@"; }
ask() { compose exec -T postgres psql -U postgres -v ON_ERROR_STOP=1 -Atq -d "$1" -c "SET client_min_messages TO warning" -c "$2"; }
sums() { if command -v sha256sum > /dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }

[ -n "${1:-}" ] || fail "name a backup: make restore FROM=backups/TIME"
folder=$(cd "$1" 2> /dev/null && pwd) || fail "there is no folder $1"
cd "$(dirname "$0")/.."

# 1. Is it whole, and of a stack that this one can follow?
[ -f "$folder/SHA256SUMS" ] || fail "$folder is no finished backup: it has no SHA256SUMS"
for file in closedloop.dump mlflow.dump prefect.dump bucket.tar manifest.txt; do
  grep -q "  $file\$" "$folder/SHA256SUMS" || fail "$folder/SHA256SUMS does not name $file"
done
if ! said=$(cd "$folder" && LC_ALL=C sums --strict -c SHA256SUMS 2>&1); then
  damaged=$(echo "$said" | sed -n 's/: FAILED.*//p' | sort -u | tr '\n' ' ')
  fail "not as it was saved: ${damaged:-SHA256SUMS }in $folder; take another backup"
fi
others=$(compose ps --services --status running | grep -vxE 'postgres|s3|' | tr '\n' ' ') || true
[ -z "$others" ] || fail "the stack is in use (${others% }): make down, then again"
# A revision that the programs of this image have no file for is newer than they are.
newer=$(sed -n 's/^schema //p' "$folder/manifest.txt" | job databases sh -c '
  cd /opt/closedloop/lib/python3*/site-packages
  while read -r database table revision; do
    case $database in
      closedloop) place=closedloop ;;
      mlflow) place="mlflow/store mlflow/server/auth" ;;
      prefect) place=prefect/server ;;
    esac
    grep -rqE --include="*.py" "^revision( *:[^=]*)? *= *.$revision.( |$)" $place || echo "$database ($table $revision)"
  done') || fail "the image of the stack does not start: make up builds it"
[ -z "$newer" ] || fail "the backup is of newer programs than this stack's:" $newer"; update the stack first"

# 2. Is there room for it?
compose up --detach --wait postgres s3
job databases < /dev/null > /dev/null || fail "PostgreSQL refuses the passwords of .env, or does not answer"
full=
for name in closedloop mlflow prefect; do
  tables=$(ask "$name" "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
  [ "$tables" -eq 0 ] || full="$full $name ($tables tables)"
done
[ -z "$full" ] || [ "${FORCE:-}" = 1 ] || fail "this stack holds something:$full; FORCE=1 replaces it"

# 3. The databases beside those that are there, and the objects, whose keys are unique, among those that are there.
state='the databases are as they were; mend what is said above, then again'
trap 'exit 1' HUP INT TERM
trap '[ $? -eq 0 ] || echo "not restored: $state" >&2' EXIT
for name in closedloop mlflow prefect; do
  ask postgres "DROP DATABASE IF EXISTS ${name}_restored WITH (FORCE)"
  ask postgres "CREATE DATABASE ${name}_restored OWNER $name"
  quiet exec -T postgres pg_restore -U postgres --no-owner --no-acl --role="$name" --exit-on-error --single-transaction -d "${name}_restored" \
    < "$folder/$name.dump"
done
quiet exec -T postgres psql -U postgres -v ON_ERROR_STOP=1 -q --single-transaction -d prefect_restored < stack/ended_runs.sql
# MLflow's server does not always bring tables of an older version up to its own; Prefect's, and the job `upgrade` for ours, do.
said=$(job mlflow mlflow db upgrade postgresql+psycopg://mlflow@postgres:5432/mlflow_restored 2>&1 < /dev/null) || { echo "$said" >&2; exit 1; }
job s3-init python /app/jobs/bucket.py load < "$folder/bucket.tar"

# 4. In their place.
state='what is there is not whole; mend what is said above, then again with FORCE=1'
for name in closedloop mlflow prefect; do
  ask postgres "DROP DATABASE $name WITH (FORCE)"
  ask postgres "ALTER DATABASE ${name}_restored RENAME TO $name"
done
# Once more: who may do what with a database is no part of a dump, and MLflow's users have the passwords of the old stack.
job databases < /dev/null > /dev/null
said=$(job mlflow-tables 2>&1 < /dev/null) || { echo "$said" >&2; exit 1; }
# Places of runs that were under way here.
job prefect-server sh -c 'rm -rf /var/lib/closedloop/prefect/concurrency_leases' < /dev/null
if [ -f "$folder/api_keys.json" ]; then
  job api sh -c 'cd /var/lib/closedloop && cat > .restored && chmod 600 .restored && mv .restored api_keys.json' < "$folder/api_keys.json"
fi
if [ -f "$folder/windows.tar" ]; then
  job prefect-worker tar -C /windows --no-same-owner --no-overwrite-dir -x < "$folder/windows.tar"
fi
trap - EXIT
echo "restored $(sed -n 's/^made //p' "$folder/manifest.txt"): make up starts it"
