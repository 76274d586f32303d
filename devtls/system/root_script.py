"""The one program that root runs: /bin/sh, reading words and what it is to write on standard input.

It is printed before it runs, so it is written to be read, and has only the parts that the call needs.

Words: `hosts SHA256 LENGTH`, `install NAME LENGTH`, `remove NAME`, `lower-ports UID`, `restore-ports`,
`route UID COUNT DOMAIN…`, and last `bind UID GID GROUPS COMMAND…`. It trusts none of them: everything is checked before
the first change, and what the words say is never run, only compared and copied; the command of `bind` runs as the user.

Standard output has a line "devtls: started", then for each change "devtls: done …" or "devtls: failed STATUS …": what
cannot be done does not keep the rest from being done. "devtls: said …" is what a store's own tool said when it failed.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Collection

STARTED = "devtls: started"
DONE = "devtls: done "
FAILED = "devtls: failed "
SAID = "devtls: said "
PLAIN = re.compile(r"[A-Za-z0-9/._-]+( [A-Za-z0-9/._-]+)*")  # nothing that a shell would do anything with


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
    NO_ROOM = 49
    NO_OPENSSL = 50
    BUSY = 51
    NO_PORT_SETTING = 60
    PORTS_NOT_OURS = 61
    PORTS_NOT_SET = 62
    PORTS_NOT_KEPT = 63
    NO_RESOLVED = 70
    ROUTE_NOT_OURS = 71
    ROUTE_NOT_KEPT = 72
    RESOLVED_FAILED = 73


class Anchors(Struct, frozen=True):
    """Where a family of systems keeps the roots that its administrator adds, and how it takes them in.

    Attributes:
        directory: one file for each root.
        suffix: of these files; others are not read.
        bundle: the one file of all trusted roots, made by the commands.
        after_adding: the command that makes it.
        after_removing: the same; where a removal needs another one.
        links: a directory where the command may leave links to files that are gone; or nothing.
        java_hook: a program that has to be told of a removal by hand; or nothing.
    """

    directory: str
    suffix: str
    bundle: str
    after_adding: str
    after_removing: str
    links: str = ""
    java_hook: str = ""

    def file(self, name: str) -> str:
        """Where the root of this name goes."""
        return f"{self.directory}/{name}{self.suffix}"


def render_script(words: Collection[str], anchors: Anchors | None = None) -> str:
    """Return the program for a call with these words, keys of `LOOK`; "install" and "remove" need anchors.

    Raises:
        ValueError: the anchors are missing, or no plain words.
    """
    has_store = "install" in words or "remove" in words
    is_locked = "hosts" in words or "route" in words
    parts = [
        BEGIN,
        LOCK if is_locked else "",
        CHECK_HOSTS if "hosts" in words else "",
        *([_describe(anchors, words), CHECK_STORE] if has_store else []),
        CHECK_ASKER if "lower-ports" in words or "route" in words else "",
        CHECK_DOMAINS if "route" in words else "",
        CHECK_BIND if "bind" in words else "",
        READ_WORDS,
        *[LOOK[word] for word in LOOK if word in words],
        END_OF_WORDS,
        CHANGE_HOSTS if "hosts" in words else "",
        TELL_JAVA if "remove" in words and anchors and anchors.java_hook else "",
        CHANGE_STORE if has_store else "",
        PORTS if "lower-ports" in words or "restore-ports" in words else "",
        LOWER_PORTS if "lower-ports" in words else "",
        RESTORE_PORTS if "restore-ports" in words else "",
        ROUTE if "route" in words else "",
        UNLOCK if is_locked else "",
        BIND if "bind" in words else "",
    ]
    return "".join(parts)


def _describe(anchors: Anchors | None, words: Collection[str]) -> str:
    """The part of the script that is another one on each family of systems."""
    if anchors is None:
        raise ValueError("a store is changed, and it is not said which")
    facts = {
        "anchors": anchors.directory,
        "suffix": anchors.suffix,
        "bundle": anchors.bundle,
        "after_adding": anchors.after_adding,
        "after_removing": anchors.after_removing,
        "links": anchors.links,
        "java_hook": anchors.java_hook if "remove" in words else "",
    }
    for fact in facts.values():
        if fact and not PLAIN.fullmatch(fact):
            raise ValueError(f"root is not given {fact!r}")
    return STORE + "".join(f"{name}='{fact}'\n" for name, fact in facts.items())


# sh -c: what it changes is checked first, all of it; the words are compared and copied, never run.
BEGIN = r"""
set -eu
umask 022
PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C
export PATH LC_ALL
echo 'devtls: started'
work=$(mktemp -d /tmp/devtls.XXXXXXXXXX)
trap 'rm -rf -- "$work"' EXIT
trap 'exit 143' HUP INT TERM
cat > "$work/stdin"
offset=1
fail() { code=$1; shift; echo "devtls: $*" >&2; exit "$code"; }
take() {
  case $1 in '' | *[!0-9]*) fail 41 'a length is not a number' ;; esac
  tail -c "+$offset" "$work/stdin" | head -c "$1" > "$2"
  offset=$((offset + $1))
  [ "$(wc -c < "$2")" -eq "$1" ] || fail 41 'the input is too short'
}
"""

# Whoever can open a file can lock it, so the lock is a file that only root can open; and nobody is waited for forever.
# busybox' flock knows no -w: there nobody is waited for at all.
LOCK = r"""
# --- one edit at a time
is_locked=''
lock() {
  [ -z "$is_locked" ] && command -v flock > /dev/null && [ -w /run ] || return 0
  umask 077
  exec 9>> /run/devtls.lock
  umask 022
  flock -w 60 9 2> /dev/null || flock -n 9 || fail 51 'another edit does not end'
  is_locked=yes
}
"""
UNLOCK = "exec 9>&-\n"

# The edit of the hosts file is checked by taking the lines that say "# devtls" out of the old and the new file: what
# is left must be equal. Only a carriage return at the end of a line may differ (a CRLF file without a last newline).
CHECK_HOSTS = r"""
# --- look at the hosts file: only lines marked as ours may differ
users_lines() {
  sed -e "1s/^$(printf '\357\273\277')//" -e "s/$(printf '\r')\$//" "$1" |
    grep -a -v -x -E '(127\.0\.0\.1|::1) [a-z0-9.-]+ # devtls|# devtls: (begin|begin, newline added|end)' || :
}
is_expected() { sum=$(sha256sum < "$1") && [ "${sum%% *}" = "$expected" ]; }
check_hosts() {
  lock
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
"""

STORE = r"""
# --- the system's store of trusted roots
"""
CHECK_STORE = r"""
# --- look at the roots: each is named as ours, and limited to some names
installs='' removes=''
check_name() {
  case ${1#devtls-} in *[!0-9a-f]*) fail 41 "bad name $1" ;; ????????) ;; *) fail 41 "bad name $1" ;; esac
  case $1 in devtls-*) ;; *) fail 41 "bad name $1" ;; esac
}
check_root() {
  [ "$(head -n 1 "$1")" = '-----BEGIN CERTIFICATE-----' ] || fail 41 'not a certificate'
  [ "$(tail -n 1 "$1")" = '-----END CERTIFICATE-----' ] || fail 41 'not a certificate'
  [ "$(grep -c -v -x '[A-Za-z0-9+/=]\{1,76\}' "$1")" = 2 ] || fail 41 'not one certificate'
  command -v openssl > /dev/null || fail 50 'no openssl'
  openssl x509 -in "$1" -noout -ext nameConstraints | grep -q 'X509v3 Name Constraints: critical' ||
    fail 41 'the root is not limited to some names'
}
command -v "${after_adding%% *}" > /dev/null || fail 46 "no ${after_adding%% *}"
"""

CHECK_BIND = r"""
check_bind() {
  [ -x /usr/bin/setpriv ] || fail 48 'no /usr/bin/setpriv'
  [ "${SUDO_UID:-$2}" = "$2" ] || fail 41 'the ports are for another user'
  case $4 in --init-groups | --clear-groups) ;; *) fail 41 "unknown word $4" ;; esac
}
"""

CHECK_ASKER = r"""
check_asker() {
  case $1 in '' | *[!0-9]*) fail 41 "bad user $1" ;; esac
  [ "${SUDO_UID:-$1}" = "$1" ] || fail 41 'it is for another user'
}
"""

# A name of at least two labels: nobody routes a whole top-level domain, or ".", which is all there are.
CHECK_DOMAINS = r"""
check_domain() {
  case $1 in
    *[!a-z0-9.-]* | .* | *. | -* | *- | *..* | *.-* | *-.*) fail 41 "bad domain $1" ;;
    *.*) [ "${#1}" -le 253 ] || fail 41 "bad domain $1" ;;
    *) fail 41 "bad domain $1" ;;
  esac
}
check_count() { case $1 in '' | *[!0-9]*) fail 41 'a number of domains is not one' ;; esac; }
"""

READ_WORDS = r"""
while [ $# -gt 0 ]; do
  case $1 in
"""
LOOK = {
    "hosts": """    hosts) expected=$2; take "$3" "$work/hosts"; shift 3; check_hosts ;;\n""",
    "install": """    install) check_name "$2"; take "$3" "$work/$2"; check_root "$work/$2"
      installs="$installs $2"; shift 3 ;;\n""",
    "remove": """    remove) check_name "$2"; removes="$removes $2"; shift 2 ;;\n""",
    "lower-ports": """    lower-ports) check_asker "$2"; asker=$2; shift 2 ;;\n""",
    "restore-ports": """    restore-ports) shift ;;\n""",
    "route": """    route) check_asker "$2"; check_count "$3"; lock; asker=$2 count=$3 domains=''; shift 3
      while [ "$count" -gt 0 ]; do
        check_domain "${1:-}"; domains="$domains $1"; count=$((count - 1)); shift
      done ;;\n""",
    "bind": """    bind) check_bind "$@"; break ;;\n""",
}
END_OF_WORDS = r"""    *) fail 41 "unknown word $1" ;;
  esac
done
"""

# `cp -a` and `mv` keep owner, mode, ACL and SELinux label; a mount point (Docker's hosts file) cannot be replaced and
# is overwritten without truncating first, so that a full disk cannot take what was there. `sync FILE` is fsync, of the
# file before it gets its name and of the directory after; where that cannot be had, the file is whole all the same.
CHANGE_HOSTS = r"""
# --- change the hosts file, as a whole or not at all
replace() {
  new=$(mktemp "$directory/.hosts.devtls.XXXXXX") || return 1
  trap 'rm -rf -- "$work" "$new"' EXIT
  cp -a -- "$target" "$new" && cat "$work/hosts" > "$new" && cmp "$work/hosts" "$new" && { sync "$new" || :; } &&
    is_expected "$target" && mv -f -- "$new" "$target" && { sync "$directory" || :; } && return 0
  rm -f -- "$new"
  return 1
}
overwrite() {
  dd "if=$1" "of=$target" conv=notrunc && truncate -s "$(wc -c < "$1")" "$target" && cmp "$1" "$target" || return 1
  sync "$target" || :
}
write_hosts() {
  replace 2> "$work/said" && return 0
  is_expected "$target" || return 44
  overwrite "$work/hosts" 2>> "$work/said" && return 0
  overwrite "$work/old" 2> /dev/null || :
  cat "$work/said" >&2
  flags=$(lsattr -d -- "$target" 2> /dev/null) || flags=''
  case ${flags%% *} in *[ai]*) return 42 ;; esac
  case ,$(findmnt -n -o OPTIONS -T "$target" || :), in *,ro,*) return 43 ;; esac
  return 44
}
if write_hosts; then echo 'devtls: done hosts'; else echo "devtls: failed $? hosts"; fi
"""

# Debian's update-ca-certificates never tells its Java hook of a deleted local file, so the hook is told by hand.
TELL_JAVA = r"""
# --- tell Java, which keeps a copy of its own, what it has to forget
forget_in_java() {
  [ ! -x "$java_hook" ] || for name in $removes; do echo "-$links/$name.pem"; done | "$java_hook" >&2 || :
}
"""

# On a full disk a tool that begins by deleting would leave a system that trusts nobody, so room is looked for first.
CHANGE_STORE = r"""
# --- change the store, as a whole or not at all
has_room() {
  [ -f "$bundle" ] || return 0
  cat "$bundle" "$bundle" > "${bundle%/*}/.devtls.room" && full='' || full=yes
  rm -f -- "${bundle%/*}/.devtls.room"
  [ -z "$full" ]
}
put() { cp -- "$1" "$2.new" && chmod 644 "$2.new" && mv -f -- "$2.new" "$2"; }
change_store() {
  mkdir -p "$anchors" || return 1
  for name in $removes; do
    file=$anchors/$name$suffix
    rm -f -- "$file.new"
    [ ! -f "$file" ] || mv -f -- "$file" "$work/$name.removed" || return 1
  done
  for name in $installs; do
    file=$anchors/$name$suffix
    [ ! -f "$file" ] || cp -- "$file" "$work/$name.removed" || return 1
    put "$work/$name" "$file" || return 1
  done
  command=${removes:+$after_removing}
  command=${command:-$after_adding}
  echo "\$ $command"
  $command
}
restore_store() {
  for name in $installs; do rm -f -- "$anchors/$name$suffix" "$anchors/$name$suffix.new"; done
  for name in $installs $removes; do
    [ ! -f "$work/$name.removed" ] || put "$work/$name.removed" "$anchors/$name$suffix"
    [ -z "$links" ] || [ -f "$anchors/$name$suffix" ] || find "$links" -type l -lname "*$name.*" -delete
  done
  $after_adding > /dev/null 2>&1
}
if ! has_room; then
  verdict='failed 49'
else
  [ -z "$java_hook" ] || forget_in_java
  if change_store > "$work/said" 2>&1; then
    verdict=done
  else
    verdict='failed 47'
    sed 's/^/devtls: said /' "$work/said"
    restore_store || :
  fi
  cat "$work/said" >&2
fi
for name in $installs; do echo "devtls: $verdict install $name"; done
for name in $removes; do echo "devtls: $verdict remove $name"; done
"""

# The file is there before the value is changed, and goes after it, so that what was begun can always be taken back.
PORTS = r"""
# --- the first port that every user may listen on: its value now, and the file that sets it at each start
port_value=/proc/sys/net/ipv4/ip_unprivileged_port_start
port_file=/etc/sysctl.d/50-devtls-low-ports.conf
port_lines() {
  echo '# devtls: every user of this machine may listen on the ports from 80 up; `devtls clean` takes that back'
  echo "# devtls: asked for by user $1; it was $2 before"
  echo 'net.ipv4.ip_unprivileged_port_start=80'
}
is_ours() {
  [ -f "$1" ] && [ ! -L "$1" ] || return 1
  asked=$(sed -n 's/^# devtls: asked for by user \([0-9]*\); it was \([0-9]*\) before$/\1 \2/p' "$1")
  before=${asked#* }
  port_lines "${asked% *}" "$before" | cmp -s - "$1"
}
has_port_file() { [ -e "$port_file" ] || [ -L "$port_file" ]; }
set_ports() { echo "$1" > "$port_value" && [ "$(cat "$port_value")" = "$1" ]; }
"""
LOWER_PORTS = r"""
keep_ports() {
  new=$(mktemp "${port_file%/*}/.devtls.XXXXXX") || return 1
  port_lines "$asker" "$(cat "$port_value")" > "$new" && is_ours "$new" && chmod 644 "$new" &&
    mv -f -- "$new" "$port_file" && return 0
  rm -f -- "$new"
  return 1
}
lower_ports() {
  [ -f "$port_value" ] && [ -d "${port_file%/*}" ] || return 60
  [ "$(cat "$port_value")" -gt 80 ] || return 0
  made=''
  if has_port_file; then
    is_ours "$port_file" || return 61
  else
    keep_ports || return 63
    made=yes
  fi
  set_ports 80 && return 0
  [ -z "$made" ] || rm -f -- "$port_file"
  return 62
}
if lower_ports; then echo 'devtls: done lower-ports'; else echo "devtls: failed $? lower-ports"; fi
"""
RESTORE_PORTS = r"""
restore_ports() {
  has_port_file || return 0
  is_ours "$port_file" || return 61
  now=$(cat "$port_value")
  [ "$now" != 80 ] || set_ports "$before" || return 62
  rm -f -- "$port_file" && return 0
  set_ports "$now" || :
  return 63
}
if restore_ports; then echo 'devtls: done restore-ports'; else echo "devtls: failed $? restore-ports"; fi
"""

# The file is a list of who wants which domain; what systemd-resolved reads of it follows from that. It is told once the
# file has changed; a newer one only reads its settings again. When it does not take them, the file is as it was.
ROUTE = r"""
# --- the names that systemd-resolved asks devtls for: a file of its settings
route_file=/etc/systemd/resolved.conf.d/50-devtls.conf
route_folder=${route_file%/*}
route_lines() {
  echo '# devtls: names below these domains are asked of the gateway; `devtls clean` takes that back'
  [ -z "$made_folder" ] || echo '# devtls: made this folder'
  sed 's/^\([^ ]*\) \(.*\)$/# devtls: \1 for user \2/' "$1"
  echo '[Resolve]'
  echo 'DNS=127.0.0.1:15353'
  echo "Domains=$(cut -d ' ' -f 1 "$1" | uniq | sed 's/^/~/' | paste -s -d ' ' -)"
}
is_our_route() {
  [ -f "$route_file" ] && [ ! -L "$route_file" ] || return 1
  sed -n 's/^# devtls: \([a-z0-9.-]*\) for user \([0-9]*\)$/\1 \2/p' "$route_file" > "$work/route.was"
  made_folder=$(grep -x '# devtls: made this folder' "$route_file" || :)
  route_lines "$work/route.was" | cmp -s - "$route_file"
}
put_route() {
  new=$(mktemp "$route_folder/.devtls.XXXXXX") || return 1
  cat "$1" > "$new" && chmod 644 "$new" && mv -f -- "$new" "$route_file" && return 0
  rm -f -- "$new"
  return 1
}
remove_route() {
  rm -f -- "$route_file" || return 1
  [ -z "$made_folder" ] || rmdir "$route_folder" 2> /dev/null || :
}
has_resolved() { command -v systemctl > /dev/null && systemctl is-active --quiet systemd-resolved; }
tell_resolved() { ! has_resolved || systemctl reload-or-restart systemd-resolved 9>&-; }
change_route() {
  made_folder='' had_file=''
  : > "$work/route.was"
  if [ -e "$route_file" ] || [ -L "$route_file" ]; then
    is_our_route || return 71
    had_file=yes
    cat "$route_file" > "$work/route.old"
  fi
  grep -v " $asker\$" "$work/route.was" > "$work/route.others" || :
  for domain in $domains; do echo "$domain $asker"; done | sort -u - "$work/route.others" > "$work/route.now"
  ! cmp -s "$work/route.was" "$work/route.now" || return 0
  if [ -s "$work/route.now" ]; then
    [ -z "$domains" ] || has_resolved || return 70
    [ -d "$route_folder" ] || { mkdir "$route_folder" && made_folder=yes; } || return 72
    route_lines "$work/route.now" > "$work/route.new"
    put_route "$work/route.new" || return 72
  else
    remove_route || return 72
  fi
  tell_resolved >&2 && return 0
  if [ -n "$had_file" ]; then
    [ -d "$route_folder" ] || mkdir "$route_folder"
    put_route "$work/route.old"
  else
    remove_route
  fi
  tell_resolved >&2 || :
  return 73
}
if change_route; then echo 'devtls: done route'; else echo "devtls: failed $? route"; fi
"""

BIND = r"""
# --- bind the ports: as the user, with the one capability that binding needs
user=$2 group=$3 groups=$4
shift 4
rm -rf -- "$work"
exec /usr/bin/setpriv --reuid "$user" --regid "$group" "$groups" --inh-caps=-all,+net_bind_service \
  --ambient-caps=-all,+net_bind_service --bounding-set=-all,+net_bind_service -- "$@"
"""
