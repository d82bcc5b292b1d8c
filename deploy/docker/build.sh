#!/bin/sh
# Builds the image from pkg/ by whichever builder is there; called by `make image` in the top
# folder. IMAGE, BASE and BUILDER may be set, and PLATFORM, such as linux/arm64, for other machines.
set -eu
case "${PLATFORM:-}" in
  linux/arm64*) export MACHINE=aarch64 ;;
  linux/amd64*) export MACHINE=x86_64 ;;
esac
image=${IMAGE:-tee-device-plugin:latest}
folder=deploy/docker

builder=${BUILDER:-}
for candidate in buildah podman docker; do
  [ -z "$builder" ] || break
  ! command -v "$candidate" >/dev/null || builder=$candidate
done
if [ -z "$builder" ]; then
  echo "error: none of buildah, podman and docker is here: install one, or name one: BUILDER=" >&2
  exit 1
fi

cp pkg/* "$folder"
cp deploy/limits/limits.sh deploy/systemd/tee-limit.* "$folder"
sh "$folder/check.sh" || {
  echo "error: the image can't be built: see above" >&2
  exit 1
}
set -- build -t "$image" ${BASE:+--build-arg "BASE=$BASE"} \
  ${PLATFORM:+--platform "$PLATFORM"} "$folder"
echo "$builder $*"
exec "$builder" "$@"
