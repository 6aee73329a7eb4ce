#!/bin/bash
# server-root.sh ROOT TREE: make ROOT, a minimal root, one from which ipa-server-install can be run. Root only.
set -euo pipefail
root=$1 tree=$2
here=$(dirname "$(realpath "$0")")
python=$root/usr/lib/python3/dist-packages

packages='389-ds-base python3-lib389 slapi-nis krb5-kdc krb5-admin-server krb5-pkinit krb5-user apache2
  libapache2-mod-wsgi-py3 libapache2-mod-auth-gssapi libapache2-mod-lookup-identity gssproxy certmonger oddjob
  sssd-ipa sssd-tools sssd-dbus libpam-sss libnss-sss python3-sss python3-libsss-nss-idmap python3-libipa-hbac
  python3-kdcproxy libsss-certmap0 python3-ldap python3-gssapi python3-dnspython python3-netaddr python3-dbus
  python3-cryptography python3-jwcrypto python3-pyasn1 python3-pyasn1-modules python3-qrcode python3-requests
  python3-usb python3-yubico python3-lxml python3-augeas python3-netifaces python3-ifaddr python3-custodia
  python3-samba python3-systemd python3-psutil python3-cffi python3-six python3-decorator python3-urllib3
  python3-dateutil python3-jinja2 python3-argcomplete python3-setuptools libnss3-tools openssl acl ldap-utils
  libsasl2-modules-gssapi-mit cracklib-runtime samba-common librpm9 libkrad0 libpwquality1 libini-config5 libwbclient0
  libsmbclient libunistring2 iproute2 procps less file dbus keyutils sudo systemd systemd-sysv libjansson4 libcurl4
  libverto1 bind9-dnsutils libldap-common'

# shellcheck disable=SC2086
"$here/inside.sh" "$root" apt-get install -y -q --no-install-recommends $packages
"$here/inside.sh" "$root" apt-get clean
tar xzf "$tree" -C "$root" --keep-directory-symlink
# Dogtag's client is imported even where there is no certificate authority; `pki-server` must say that there is none.
wheel=$(mktemp -d)
python3 -m pip download -q --disable-pip-version-check --no-deps -d "$wheel" dogtag-pki==11.2.1
python3 -m zipfile -e "$wheel"/dogtag_pki-*.whl "$python/"
rm -rf "$wheel"
printf '#!/bin/sh\nexit 1\n' >"$root/usr/sbin/pki-server"
chmod 755 "$root/usr/sbin/pki-server"
# Without this line custodia makes the folder, closed to Apache, and every answer is 503.
echo 'd /run/apache2 0755 root root' >"$root/usr/lib/tmpfiles.d/zz-apache2-ipa.conf"
# Two waits of a minute for replicas that do not exist.
sed -i 's/max_wait = 30 .*/max_wait = 1/' "$python/ipaserver/install/plugins/update_dna_shared_config.py"
"$here/inside.sh" "$root" bash -es <<'C'
# What the package's own scripts would do: users, folders, Apache modules, units.
for name in kdcproxy ipaapi; do
  groupadd -f -r $name
  getent passwd $name >/dev/null || useradd -r -g $name -s /usr/sbin/nologin -d / $name
done
usermod -a -G ipaapi www-data
mkdir -p /etc/krb5.conf.d /etc/apache2/ipa /etc/ipa/{custodia,dnssec,html,nssdb} /var/lib/ipa-client/{pki,sysrestore} \
  /var/lib/ipa/{backup,certs,gssproxy,sysrestore,sysupgrade,pki-ca/publish,passwds,private,dnssec} /var/log/ipa \
  /usr/local/share/ca-certificates /etc/systemd/system/apache2.service.d /var/lib/krb5kdc /etc/krb5kdc
chmod 700 /var/lib/ipa/{backup,private,passwds,gssproxy,sysrestore,sysupgrade} /etc/ipa/custodia
chmod 755 /var/lib/ipa
a2enmod -q ssl auth_gssapi authz_user deflate expires headers lookup_identity proxy proxy_http proxy_balancer rewrite \
  session session_cookie wsgi
a2ensite -q default-ssl
systemctl mask systemd-networkd systemd-resolved systemd-timesyncd getty.target console-getty e2scrub_all.timer \
  apt-daily.timer apt-daily-upgrade.timer man-db.timer fstrim.timer dpkg-db-backup.timer logrotate.timer \
  chrony.service systemd-udevd.service systemd-journald-audit.socket
systemctl disable apache2 sssd krb5-kdc krb5-admin-server gssproxy certmonger oddjobd || true
systemctl set-default multi-user.target
rm -f /usr/sbin/policy-rc.d
: >/etc/resolv.conf
: >/etc/machine-id
C
