#!/bin/bash
# tree.sh BASE WORK OUT: compile the FreeIPA server and pack what it installs into OUT. Root only; about two minutes.
#
# No Debian release has a binary package of the server. The next release's source package is the full upstream tarball, and
# it compiles here without a patch. BASE is a minimal root of this release; WORK is a scratch folder that may be deleted.
set -euo pipefail
base=$1 work=$(realpath -m "$2") out=$(realpath -m "$3")
here=$(dirname "$(realpath "$0")")
version=4.12.4
tarball=freeipa_$version.orig.tar.gz
sha256=367ddd1e8680b7af8c67480c1422678978229eae20b8d33c1e30a1ade9fd69d6
root=$work/root apt=$work/apt

fetch_source() { # into $work, with an apt of its own that knows one source list and nothing of this machine's packages
  mkdir -p "$apt"/state/lists/partial "$apt"/cache/archives/partial "$apt"/etc/{sources.list.d,preferences.d}
  mirror=$({ grep -hE '^(URIs:|deb )' /etc/apt/sources.list.d/*.sources /etc/apt/sources.list 2>/dev/null || true; } |
    grep -oE 'https?://[^ ]+' | grep -v security | head -1)
  : >"$apt/state/status"
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" >"$apt/etc/sources.list"
  cat >"$apt/apt.conf" <<C
Dir::State "$apt/state"; Dir::State::status "$apt/state/status"; Dir::Cache "$apt/cache";
Dir::Etc::sourcelist "$apt/etc/sources.list"; Dir::Etc::sourceparts "$apt/etc/sources.list.d";
Dir::Etc::preferencesparts "$apt/etc/preferences.d"; APT::Architecture "amd64";
C
  cd "$work"
  APT_CONFIG=$apt/apt.conf apt-get update -q
  # Only the tarball: the packaging of a version that was replaced is not served for ever.
  APT_CONFIG=$apt/apt.conf apt-get source --download-only --tar-only "freeipa=$version-1"
  echo "$sha256  $tarball" | sha256sum -c --quiet
}

build_packages='build-essential pkg-config gettext python3-dev python3-setuptools python3-wheel libkrb5-dev libkrad-dev
  krb5-user libldap-dev 389-ds-base-dev libssl-dev libnspr4-dev libnss3-dev libpopt-dev libini-config-dev
  libbasicobjects-dev libsasl2-dev samba-dev libtalloc-dev libtevent-dev uuid-dev libverto-dev libsss-certmap-dev
  libsss-idmap-dev libsss-nss-idmap-dev libpwquality-dev libunistring-dev libcurl4-openssl-dev libjansson-dev
  libcmocka-dev libsystemd-dev systemd libsmbclient-dev libwbclient-dev libevent-dev python3-lesscpy python3-ldap
  python3-gssapi python3-dnspython python3-netaddr python3-six python3-cryptography python3-cffi python3-netifaces'

mkdir -p "$work" "$root"
fetch_source
cp -a "$base/." "$root/"
# shellcheck disable=SC2086
"$here/inside.sh" "$root" apt-get install -y -q --no-install-recommends $build_packages
# A private library of samba's for which Debian ships no development link.
ln -sf libsamba-security-samba4.so.0 "$root/usr/lib/x86_64-linux-gnu/samba/libsamba-security-samba4.so"
mkdir -p "$root/build" "$root/dest"
tar xzf "$work/$tarball" -C "$root/build"
cat >"$root/build/compile.sh" <<C
set -e
cd /build/freeipa-$version
C
cat >>"$root/build/compile.sh" <<'C'
sed -i 's/^\(\s*\)ui\b\s*\\$/\1\\/' install/Makefile.in  # no web UI: it needs a JavaScript build
am_cv_python_pythondir=/usr/lib/python3/dist-packages am_cv_python_pyexecdir=/usr/lib/python3/dist-packages \
./configure --prefix=/usr --sysconfdir=/etc --localstatedir=/var --libexecdir=/usr/lib --runstatedir=/run \
  --libdir=/usr/lib/x86_64-linux-gnu --with-ipaplatform=debian --without-ipatests --disable-pylint --without-jslint \
  --disable-rpmlint --with-systemdsystemunitdir=/lib/systemd/system --with-sysconfenvdir=/etc/default PYTHON=/usr/bin/python3
# The timestamps in the order in which the files derive from each other, so that make asks for no newer automake.
touch aclocal.m4; sleep 1
find . -name Makefile.in -exec touch {} +; touch configure config.h.in; sleep 1
find . -name Makefile -exec touch {} +; touch config.status config.h stamp-h1
make -j2
make install DESTDIR=/dest PYTHON_INSTALL_EXTRA_OPTIONS=--install-layout=deb
find /dest -name '*.la' -delete
C
"$here/inside.sh" "$root" bash /build/compile.sh
tar czf "$out.new" -C "$root/dest" .
mv "$out.new" "$out"
