#!/bin/sh
# backup.sh [FOLDER]: saves the running stack to a new folder (default: backups/TIME). WITH_WINDOWS=1 includes the windows.
# A folder that ends in .part is incomplete.
set -eu
umask 077
fail() { echo "no backup: $*" >&2; exit 1; }
compose() { docker compose --progress quiet "$@" < /dev/null; }
job() { compose run --rm --no-deps -T "$@"; }
ask() { compose exec -T postgres psql -U postgres -v ON_ERROR_STOP=1 -Atq -d "$1" -c "$2"; }
sums() { if command -v sha256sum > /dev/null; then sha256sum "$@"; else shasum -a 256 "$@"; fi; }
# A complete tar ends in two blocks of zeros.
is_whole_tar() { [ -s "$1" ] && [ "$(tail -c 1024 "$1" | tr -d '\000' | wc -c)" -eq 0 ]; }

folder=${1:-$(cd "$(dirname "$0")/.." && pwd)/backups/$(date -u +%Y-%m-%dT%H%M%SZ)}
case $folder in /*) ;; *) folder=$PWD/$folder ;; esac
part=$folder.part
cd "$(dirname "$0")/.."
[ ! -e "$folder" ] || fail "$folder already exists: choose another folder"
running=$(compose ps --services --status running)
for service in postgres s3; do
  echo "$running" | grep -qx "$service" || fail "$service is not running: run make up first"
done
mkdir -p "$(dirname "$folder")"
mkdir "$part" 2> /dev/null || fail "$part already exists: another backup is running; if it was killed, delete the folder"
trap 'rm -rf "$part"' EXIT
trap 'exit 1' HUP INT TERM

# All three at once, so that they show the same moment. The bucket comes after them: a file is stored before a database refers to it.
pids=
for name in closedloop mlflow prefect; do
  compose exec -T postgres pg_dump -U postgres --format=custom "$name" > "$part/$name.dump" &
  pids="$pids $!"
done
for pid in $pids; do wait "$pid" || fail "a database could not be dumped"; done
job s3-init python /app/jobs/bucket.py save > "$part/bucket.tar" || fail "the bucket could not be read"
is_whole_tar "$part/bucket.tar" || fail "bucket.tar is incomplete"

# Names and hashes of the API keys; the file exists once there is a key.
job api sh -c 'f=/var/lib/closedloop/api_keys.json; [ ! -e $f ] || cat $f' > "$part/api_keys.json" || fail "the API keys could not be read"
[ -s "$part/api_keys.json" ] || rm "$part/api_keys.json"
if [ "${WITH_WINDOWS:-}" = 1 ]; then
  # Exit code 1 means a file changed while it was read: a window that is still being written. The next backup has it.
  job prefect-worker sh -c 'tar -C /windows -c . || [ $? -eq 1 ]' > "$part/windows.tar" || fail "the windows could not be read"
  is_whole_tar "$part/windows.tar" || fail "windows.tar is incomplete"
fi

# A dump counts only if it can be read to its end.
for name in closedloop mlflow prefect; do
  docker compose exec -T postgres pg_restore --file=/dev/null < "$part/$name.dump" || fail "$name.dump cannot be read back"
done

{
  echo "made $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  echo "revision $(git describe --always --dirty --abbrev=40 --exclude='*' 2> /dev/null || echo unknown)"
  echo "postgresql $(ask postgres 'SHOW server_version')"
  compose config --images | sort -u | while read -r image; do
    echo "image $image $(docker image inspect --format '{{.Id}}' "$image" 2> /dev/null || echo 'not on this machine')"
  done
  for name in closedloop mlflow prefect; do
    for table in $(ask "$name" "SELECT tablename FROM pg_tables WHERE tablename LIKE '%alembic_version%' ORDER BY 1"); do
      ask "$name" "SELECT 'schema $name $table ' || version_num FROM $table ORDER BY 1"
    done
  done
} > "$part/manifest.txt"
(cd "$part" && sums -- * > .sums && mv .sums SHA256SUMS)
mv "$part" "$folder"
trap - EXIT
echo "backup: $folder ($(du -sh "$folder" | cut -f1)); it does not contain .env: keep that in a safe place"
