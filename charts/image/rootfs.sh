#!/usr/bin/env bash
# rootfs.sh FOLDER PROGRAM: a root file system with the program as /usr/bin/recmesh and what it needs to run, and nothing
# else: the libraries it loads, certificates of authorities, and the files by which the C library knows users and hosts.
#   CA_CERTIFICATES=FILE   where the certificates lie, if not at a usual place
set -euo pipefail
[ $# -eq 2 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
root=$1 program=$2
umask 022
mkdir -p "$root"/{etc/ssl/certs,tmp,usr/bin,usr/share/doc}

cp -L "$program" "$root/usr/bin/recmesh"
# `=> /path (address)` for libraries, `/path (address)` for the loader; each at the path the program asks for.
libraries=$(ldd "$program" | grep -oE '/[^ ()]+' | sort -u)
for library in $libraries; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
# C libraries before 2.34 keep the resolver in files of its own, opened by name.
libc=$(grep '/libc\.so' <<<"$libraries" || true)
if [ -n "$libc" ]; then
    for library in libnss_files.so.2 libnss_dns.so.2 libresolv.so.2; do
        file=$(dirname "$libc")/$library
        if [ -f "$file" ]; then cp -L "$file" "$root$file"; fi
    done
fi

for certificates in "${CA_CERTIFICATES:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt \
    /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
    if [ -f "$certificates" ]; then break; fi
done
[ -f "$certificates" ] || { echo "no certificates of authorities: install ca-certificates or set CA_CERTIFICATES" >&2; exit 1; }
cp -L "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"

cat > "$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/:/sbin/nologin
recmesh:x:65532:65532:recmesh:/:/sbin/nologin
PASSWD
cat > "$root/etc/group" <<'GROUP'
root:x:0:
recmesh:x:65532:
GROUP
echo 'hosts: files dns' > "$root/etc/nsswitch.conf"

# What may be passed on says under which terms.
cp "$(dirname "$0")/../../LICENSE" "$root/usr/share/doc/LICENSE"
for package in libc6 libgcc-s1; do
    terms=/usr/share/doc/$package/copyright
    if [ -f "$terms" ]; then cp -L "$terms" "$root/usr/share/doc/$package.copyright"; fi
done
