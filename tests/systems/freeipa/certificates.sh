#!/bin/bash
# certificates.sh DIR HOST...: a certificate authority and what ipa-server-install asks for on each HOST; none is remade.
set -euo pipefail
dir=$1
shift
mkdir -p "$dir"
cd "$dir"
[ -e ca.crt ] || openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -keyout ca.key -out ca.crt \
  -subj '/O=IPA.TEST/CN=Test CA' -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
for host in "$@"; do
  [ -e "$host.p12" ] && continue
  openssl req -newkey rsa:2048 -nodes -keyout "$host.key" -out "$host.csr" -subj "/O=IPA.TEST/CN=$host"
  printf 'subjectAltName=DNS:%s\nextendedKeyUsage=serverAuth,clientAuth\nkeyUsage=digitalSignature,keyEncipherment\n' \
    "$host" >"$host.ext"
  openssl x509 -req -in "$host.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$host.ext" -out "$host.crt"
  openssl pkcs12 -export -in "$host.crt" -inkey "$host.key" -certfile ca.crt -name "$host" -passout pass:Secret123 \
    -out "$host.p12"
done
