#!/bin/bash
# client-root.sh ROOT: make ROOT, a minimal root, a host with Debian's own FreeIPA client. Root only.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
"$here/inside.sh" "$1" apt-get install -y -q --no-install-recommends systemd systemd-sysv dbus iproute2 procps \
  ca-certificates libpam-systemd freeipa-client sssd libpam-sss libnss-sss bind9-dnsutils
"$here/inside.sh" "$1" apt-get clean
"$here/inside.sh" "$1" bash -es <<'C'
systemctl mask systemd-networkd systemd-resolved systemd-timesyncd getty.target console-getty e2scrub_all.timer \
  apt-daily.timer apt-daily-upgrade.timer man-db.timer fstrim.timer dpkg-db-backup.timer logrotate.timer \
  systemd-udevd.service
systemctl set-default multi-user.target
rm -f /usr/sbin/policy-rc.d
: >/etc/resolv.conf
: >/etc/machine-id
C
