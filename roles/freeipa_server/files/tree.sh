#!/bin/bash
# What the scripts of a package would do on a Debian: users, folders, modules of Apache. The last folder says that it is done.
set -euo pipefail
for name in kdcproxy ipaapi; do
  groupadd -f -r "$name"
  getent passwd "$name" >/dev/null || useradd -r -g "$name" -s /usr/sbin/nologin -d / "$name"
done
usermod -a -G ipaapi www-data
mkdir -p /etc/krb5.conf.d /etc/apache2/ipa /etc/ipa/{custodia,dnssec,html,nssdb} /var/lib/ipa-client/{pki,sysrestore} \
  /var/lib/ipa/{backup,certs,gssproxy,sysrestore,sysupgrade,pki-ca/publish,passwds,private,dnssec} /var/log/ipa \
  /usr/local/share/ca-certificates /var/lib/krb5kdc /etc/krb5kdc
chmod 700 /var/lib/ipa/{backup,private,passwds,gssproxy,sysrestore,sysupgrade} /etc/ipa/custodia
chmod 755 /var/lib/ipa
a2enmod -q ssl auth_gssapi authz_user deflate expires headers lookup_identity proxy proxy_http proxy_balancer rewrite \
  session session_cookie wsgi
a2ensite -q default-ssl
# Without this line custodia makes the folder, closed to Apache, and every answer is 503.
echo 'd /run/apache2 0755 root root' >/usr/lib/tmpfiles.d/zz-apache2-ipa.conf
systemd-tmpfiles --create
systemctl daemon-reload
mkdir -p /etc/systemd/system/apache2.service.d
