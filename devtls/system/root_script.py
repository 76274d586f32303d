"""The one program that root runs: /bin/sh, reading words and what it is to write on standard input.

It is printed before it runs, so it is written to be read. Words: `hosts SHA256 LENGTH`, `install NAME LENGTH`,
`remove NAME`, and last `bind UID GID GROUPS COMMAND…`. It trusts none of them: everything is checked before the first
change, and what the words say is never run, only compared and copied; the command of `bind` runs as the user.

Standard output has a line "devtls: started", then "devtls: done …" for each change that was made.
"""

from __future__ import annotations

from enum import IntEnum

STARTED = "devtls: started"
DONE = "devtls: done "


class Status(IntEnum):
    """How the script ends when it does not succeed; far from what sudo and sh use."""

    CHANGED_MEANWHILE = 40
    REFUSED = 41
    IMMUTABLE = 42
    READ_ONLY = 43
    NOT_WRITTEN = 44
    LINK = 45
    NO_STORE = 46
    STORE_FAILED = 47
    NO_SETPRIV = 48


# The edit of the hosts file is checked by taking the lines that say "# devtls" out of the old and the new file: what
# is left must be equal. Only a carriage return at the end of a line may differ (a CRLF file without a last newline).
# `cp -a` and `mv` keep owner, mode, ACL and SELinux label; a mount point (Docker's hosts file) cannot be replaced and
# is overwritten without truncating first, so that a full disk cannot take what was there.
# update-ca-certificates never tells its Java hook of a deleted local file, so the hook is told by hand.
SCRIPT = r"""
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
echo 'devtls: started'
work=$(mktemp -d /tmp/devtls.XXXXXXXXXX)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 143' HUP INT TERM
cat > "$work/stdin"
offset=1 edit='' expected='' installs='' removes=''
certificates=/usr/local/share/ca-certificates
fail() { code=$1; shift; echo "devtls: $*" >&2; exit "$code"; }

# --- look: nothing is changed before all of it is checked
take() {
  case $1 in '' | *[!0-9]*) fail 41 'a length is not a number' ;; esac
  tail -c "+$offset" "$work/stdin" | head -c "$1" > "$2"
  offset=$((offset + $1))
  [ "$(wc -c < "$2")" -eq "$1" ] || fail 41 'the input is too short'
}
check_name() {
  case ${1#devtls-} in *[!0-9a-f]*) fail 41 "bad name $1" ;; ????????) ;; *) fail 41 "bad name $1" ;; esac
  case $1 in devtls-*) ;; *) fail 41 "bad name $1" ;; esac
}
check_root() {
  [ "$(head -n 1 "$1")" = '-----BEGIN CERTIFICATE-----' ] || fail 41 'not a certificate'
  [ "$(tail -n 1 "$1")" = '-----END CERTIFICATE-----' ] || fail 41 'not a certificate'
  [ "$(grep -c -v -x '[A-Za-z0-9+/=]\{1,76\}' "$1")" = 2 ] || fail 41 'not one certificate'
  openssl x509 -in "$1" -noout -text | grep -q 'X509v3 Name Constraints: critical' ||
    fail 41 'the root is not limited to some names'
}
users_lines() {
  sed -e "1s/^$(printf '\357\273\277')//" -e "s/$(printf '\r')\$//" "$1" |
    grep -a -v -x -E '(127\.0\.0\.1|::1) [a-z0-9.-]+ # devtls|# devtls: (begin|begin, newline added|end)' || :
}
check_hosts() {
  target=$(readlink -f /etc/hosts) && [ -f "$target" ] || fail 44 '/etc/hosts is not a file'
  directory=${target%/*} place=${target%/*}
  while [ "$target" != /etc/hosts ]; do
    [ -z "$(find "${place:-/}" -maxdepth 0 \( ! -user 0 -o -perm -020 -o -perm -002 \))" ] ||
      fail 45 "/etc/hosts is a link to $target, which others than root can change"
    [ -n "$place" ] || break
    place=${place%/*}
  done
  cat -- "$target" > "$work/old"
  is_expected "$work/old" || fail 40 '/etc/hosts was changed meanwhile'
  users_lines "$work/old" > "$work/old.users"
  users_lines "$work/hosts" > "$work/hosts.users"
  cmp -s "$work/old.users" "$work/hosts.users" || fail 41 'the edit touches lines that are not of devtls'
}
is_expected() { sum=$(sha256sum < "$1") && [ "${sum%% *}" = "$expected" ]; }

while [ $# -gt 0 ]; do
  case $1 in
    hosts) edit=yes expected=$2; take "$3" "$work/hosts"; shift 3 ;;
    install) check_name "$2"; take "$3" "$work/$2"; check_root "$work/$2"; installs="$installs $2"; shift 3 ;;
    remove) check_name "$2"; removes="$removes $2"; shift 2 ;;
    bind) break ;;
    *) fail 41 "unknown word $1" ;;
  esac
done
[ -z "$edit" ] || check_hosts
[ -z "$installs$removes" ] || command -v update-ca-certificates > /dev/null || fail 46 'no update-ca-certificates'
if [ $# -gt 0 ]; then
  [ -x /usr/bin/setpriv ] || fail 48 'no /usr/bin/setpriv'
  [ "${SUDO_UID:-$2}" = "$2" ] || fail 41 'the ports are for another user'
  case $4 in --init-groups | --clear-groups) ;; *) fail 41 "unknown word $4" ;; esac
fi

# --- the hosts file
replace() {
  new=$(mktemp "$directory/.hosts.devtls.XXXXXX") || return 1
  cp -a -- "$target" "$new" && cat "$work/hosts" > "$new" && cmp "$work/hosts" "$new" && { sync "$new" || :; } &&
    is_expected "$target" && mv -f -- "$new" "$target" && return 0
  rm -f -- "$new"
  return 1
}
overwrite() { dd "if=$1" "of=$target" conv=notrunc && truncate -s "$(wc -c < "$1")" "$target" && cmp "$1" "$target"; }
write_hosts() {
  replace 2> "$work/said" && return 0
  is_expected "$target" || fail 40 '/etc/hosts was changed meanwhile'
  overwrite "$work/hosts" 2>> "$work/said" && return 0
  overwrite "$work/old" 2> /dev/null || :
  cat "$work/said" >&2
  flags=$(lsattr -d -- "$target" 2> /dev/null) || flags=''
  case ${flags%% *} in *[ai]*) fail 42 "$target is immutable" ;; esac
  case ,$(findmnt -n -o OPTIONS -T "$target" || :), in *,ro,*) fail 43 "$target is on a read-only file system" ;; esac
  fail 44 "$target could not be written; it is as it was"
}
if [ "$edit" ]; then
  write_hosts
  echo 'devtls: done hosts'
fi

# --- the system's store of trusted roots
put() { cp -- "$1" "$2.new" && chmod 644 "$2.new" && mv -f -- "$2.new" "$2"; }
change_store() {
  mkdir -p "$certificates" || return 1
  for name in $removes; do
    [ ! -f "$certificates/$name.crt" ] || mv -f -- "$certificates/$name.crt" "$work/$name.removed" || return 1
  done
  for name in $installs; do
    [ ! -f "$certificates/$name.crt" ] || cp -- "$certificates/$name.crt" "$work/$name.removed" || return 1
    put "$work/$name" "$certificates/$name.crt" || return 1
  done
  update-ca-certificates ${removes:+--fresh} >&2
}
restore_store() {
  for name in $installs; do rm -f -- "$certificates/$name.crt" "$certificates/$name.crt.new"; done
  for name in $installs $removes; do
    [ ! -f "$work/$name.removed" ] || put "$work/$name.removed" "$certificates/$name.crt"
  done
  update-ca-certificates --fresh > /dev/null 2>&1
}
tell_java() {
  hook=/etc/ca-certificates/update.d/jks-keystore
  [ ! -x "$hook" ] || for name in $removes; do echo "-/etc/ssl/certs/$name.pem"; done | "$hook" >&2 || :
}
if [ "$installs$removes" ]; then
  [ -z "$removes" ] || tell_java
  change_store || { restore_store || :; fail 47 'the system store was not changed'; }
  for name in $installs; do echo "devtls: done install $name"; done
  for name in $removes; do echo "devtls: done remove $name"; done
fi

# --- the ports: as the user, with the one capability that binding needs
if [ $# -gt 0 ]; then
  user=$2 group=$3 groups=$4
  shift 4
  rm -rf -- "$work"
  exec /usr/bin/setpriv --reuid "$user" --regid "$group" "$groups" --inh-caps=-all,+net_bind_service \
    --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service -- "$@"
fi
"""
