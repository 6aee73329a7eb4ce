#!/bin/bash
# base-root.sh ROOT: a minimal root of Debian 12 with this machine's own package sources, that starts no service. Root only.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
debootstrap --variant=minbase bookworm "$1"
printf '#!/bin/sh\nexit 101\n' >"$1/usr/sbin/policy-rc.d"
chmod 755 "$1/usr/sbin/policy-rc.d"
rm -f "$1/etc/apt/sources.list"
cp /etc/apt/sources.list.d/debian.sources "$1/etc/apt/sources.list.d/"
"$here/inside.sh" "$1" apt-get update -q
