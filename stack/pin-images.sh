#!/bin/sh
# pin-images.sh: asks the registries which digest each public image's tag has now, and writes it behind the tag, in docker-compose.yml and
# Dockerfile. For another version, change the tag there first.
set -eu
cd "$(dirname "$0")/.."
edit=
# The defaults of the *_IMAGE variables; our own images are in no registry.
for image in $(sed -n 's/.*{[A-Z0-9]*_IMAGE:-\([^@}]*\).*/\1/p' docker-compose.yml | grep -v '^closedloop/' | sort -u); do
  digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image") || digest=
  echo "$digest" | grep -qxE 'sha256:[0-9a-f]{64}' || { echo "no digest for $image, so nothing is written: is the registry reachable, the tag right?" >&2; exit 1; }
  edit="$edit
s#$image(@sha256:[0-9a-f]*)?(}|\$)#$image@$digest\\2#"
  echo "$image@$digest"
done
for file in docker-compose.yml Dockerfile; do
  sed -E "$edit" "$file" > "$file.pinned"
  cat "$file.pinned" > "$file"
  rm "$file.pinned"
done
