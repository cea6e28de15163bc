#!/usr/bin/env bash
# image.sh FOLDER: builds the Dockerfile with buildah on bases that are made here, since no registry may be within reach, and
# leaves the image's files in FOLDER/root and its configuration in FOLDER/image.json. Takes root and Debian's buildah and
# busybox-static.
set -euo pipefail
folder=$(realpath "$1")
project=$(realpath "$(dirname "$0")/../..")
node=$(npm exec --yes --package=node@24 -- node -p process.execPath)
npm=$(realpath "$(npm root -g)/npm")

# No container runtime is needed for it.
export BUILDAH_ISOLATION=chroot
buildah() { command buildah --root "$folder/storage" --runroot "$folder/run" "$@"; }

# A program and the libraries that it is linked with, at the same places.
put() {
  mkdir -p "$1/usr/local/bin" && cp -L "$2" "$1/usr/local/bin/$3"
  { ldd "$2" 2> /dev/null || true; } | { grep -oE '/[^ ]+' || true; } | while read -r library; do
    mkdir -p "$1$(dirname "$library")" && cp -L "$library" "$1$library"
  done
}

# To run on: Node.js and its libraries, nothing else. No shell.
bare=$folder/bare
mkdir -p "$bare/dev" "$bare/etc" "$bare/proc" "$bare/tmp" && chmod 1777 "$bare/tmp"
put "$bare" "$node" node

# To build with: npm, a shell and its tools as well, and who may be asked for packages.
full=$folder/full
cp -al "$bare" "$full"
put "$full" "$(command -v busybox)" busybox
mkdir -p "$full/bin" "$full/usr/bin" "$full/usr/local/lib/node_modules" "$full/usr/local/etc" "$full/root"
for tool in sh env find rm chown chmod; do ln -s /usr/local/bin/busybox "$full/bin/$tool"; done
ln -s /usr/local/bin/busybox "$full/usr/bin/env"
cp -a "$npm" "$full/usr/local/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$full/usr/local/bin/npm"
cp -L /etc/resolv.conf /etc/hosts "$full/etc/" 2> /dev/null || true
authorities=$(npm config get cafile)
{
  printf 'registry=%s\ncache=/var/cache/npm\nprefer-offline=true\n' "$(npm config get registry)"
  if [ -f "$authorities" ]; then
    cp -L "$authorities" "$full/etc/authorities.pem"
    echo 'cafile=/etc/authorities.pem'
  fi
} > "$full/usr/local/etc/npmrc"

base() {
  local container
  container=$(buildah from scratch)
  buildah add --quiet "$container" "$1" / > /dev/null
  buildah config --env PATH=/usr/local/bin:/usr/bin:/bin "$container"
  buildah commit --quiet --rm "$container" "$2" > /dev/null
}
base "$bare" localhost/bare
base "$full" localhost/full

cache=$(npm config get cache)
mkdir -p "$cache"
buildah build --quiet --pull-never --layers=false --format docker --tag localhost/gatehouse \
  --build-arg BUILD_IMAGE=localhost/full --build-arg RUNTIME_IMAGE=localhost/bare \
  --volume "$cache:/var/cache/npm" --output "type=local,dest=$folder/root" "$project" > "$folder/id"

chmod 755 "$folder/root"
buildah inspect --type image localhost/gatehouse > "$folder/image.json"
