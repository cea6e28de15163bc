#!/usr/bin/env bash
# run.sh ROOT USER COMMAND…: runs a command of an image as a container runtime does: as the first process of its own, with
# the image's files as its root, and those read-only, /tmp included. The network stays this machine's. Takes root.
set -euo pipefail
# What a test runner adds to every Node.js that it starts is not in the image.
unset NODE_OPTIONS
exec unshare --mount --pid --fork --kill-child /bin/bash -c '
  set -euo pipefail
  root=$1 user=$2
  shift 2
  /bin/mount --bind "$root" "$root"
  /bin/mount -t proc proc "$root/proc"
  /bin/mount --rbind /dev "$root/dev"
  /bin/mount -o remount,bind,ro "$root"
  exec /usr/sbin/chroot --userspec="$user" "$root" "$@"
' run "$@"
