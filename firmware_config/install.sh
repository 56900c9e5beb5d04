#!/bin/sh
# Makes a machine a Leukoscope station, collector, broker or repository. May be run again at any time: it brings the
# software and the units up to date, and never overwrites a configuration that exists.
set -eu
umask 022

usage() {
    cat <<'TEXT'
Usage: install.sh [--role station|collector|broker|repository]... [options]

  --role ROLE       what this machine is; may be given more than once (default: station)
  --package WHAT    what pip installs: a wheel, or a directory with the source (default: this source)
  --constraints F   a pip constraints file, such as the pinned requirements
  --update-root F   the repository's root.json, by which a station knows signed updates
  --prefix DIR      where the software goes (default: /opt/leukoscope)
  --root DIR        put the files below DIR instead of /, and leave users, software and services alone
  --dry-run         say what would be done, and do nothing
  --help            this text
TEXT
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
source_tree=$(dirname -- "$here")
roles=''
package=$source_tree
constraints=''
update_root=''
prefix=/opt/leukoscope
root=''
dry_run=no

fail() {
    printf 'install.sh: %s\n' "$1" >&2
    exit "${2:-1}"
}

while [ $# -gt 0 ]; do
    case $1 in
        --help) usage; exit 0 ;;
        --dry-run) dry_run=yes; shift; continue ;;
        --role | --package | --constraints | --update-root | --prefix | --root)
            [ $# -ge 2 ] || fail "$1 needs a value; see --help" 64 ;;
        *) fail "unknown option $1; see --help" 64 ;;
    esac
    case $1 in
        --role)
            case $2 in
                station | collector | broker | repository) roles="$roles $2" ;;
                *) fail "unknown role $2: station, collector, broker or repository" 64 ;;
            esac ;;
        --package) package=$2 ;;
        --constraints) constraints=$2 ;;
        --update-root) update_root=$2 ;;
        --prefix) prefix=$2 ;;
        --root) root=${2%/} ;;
    esac
    shift 2
done
roles=${roles:-station}
case $prefix in
    *[!A-Za-z0-9/._-]*) fail "--prefix $prefix: only letters, digits and / . _ - can stand in a unit" 64 ;;
    /*) ;;
    *) fail "--prefix $prefix is not an absolute path" 64 ;;
esac
if [ -n "$root" ] && [ ! -d "$root" ]; then
    fail "--root $root is not a directory" 66
fi
if [ -z "$root" ] && [ "$dry_run" = no ] && [ "$(id -u)" -ne 0 ]; then
    fail "needs root; try it with sudo, or look first with --dry-run" 77
fi

has_role() {
    case " $roles " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

trusted=/etc/leukoscope/update-root.json
if [ -n "$update_root" ]; then
    has_role station || fail '--update-root is for a station' 64
    [ -f "$update_root" ] || fail "--update-root $update_root is not a file" 66
    grep -Eq '"_type":[[:space:]]*"root"' "$update_root" ||
        fail "--update-root $update_root is not root metadata: give metadata/1.root.json of the repository" 65
    # Who may sign is never changed in passing: a repository whose keys change tells its stations by itself.
    if [ -e "$root$trusted" ] && ! cmp -s "$update_root" "$root$trusted"; then
        fail "$root$trusted is another root; take it away by hand if the new one is to be trusted instead" 73
    fi
fi

say() {
    printf '%s\n' "$1"
}

# Runs a command that changes this machine; never with --root, where the files alone are wanted.
on_machine() {
    if [ -n "$root" ]; then
        say "left alone (--root): $*"
    elif [ "$dry_run" = yes ]; then
        say "would run: $*"
    else
        "$@"
    fi
}

# directory PATH MODE
directory() {
    [ -d "$root$1" ] && return 0
    if [ "$dry_run" = yes ]; then
        say "would make $root$1"
    else
        install -d -m "$2" "$root$1"
        say "made $root$1"
    fi
}

# put MODE FROM TO: a file that belongs to the software, and is brought up to date.
put() {
    if [ -f "$root$3" ] && cmp -s "$2" "$root$3"; then
        say "unchanged $root$3"
    elif [ "$dry_run" = yes ]; then
        say "would write $root$3"
    else
        install -D -m "$1" "$2" "$root$3.part"
        mv -f "$root$3.part" "$root$3"
        say "wrote $root$3"
    fi
}

# put_configuration MODE FROM TO: a file that belongs to the person who runs the machine.
put_configuration() {
    if [ ! -e "$root$3" ]; then
        put "$1" "$2" "$3"
    elif cmp -s "$2" "$root$3"; then
        say "unchanged $root$3"
    else
        say "kept $root$3, which was edited; what is new stands beside it"
        put "$1" "$2" "$3.new"
    fi
}

# put_unit NAME: a unit, its paths those of --prefix.
put_unit() {
    adapted=$(mktemp)
    sed "s|/opt/leukoscope/|$prefix/|g" "$source_tree/systemd/$1" >"$adapted"
    put 0644 "$adapted" "/etc/systemd/system/$1"
    rm -f "$adapted"
}

readable_by_service() {
    on_machine chgrp leukoscope "$@"
}

install_software() {
    if ! getent passwd leukoscope >/dev/null; then
        on_machine useradd --system --user-group --no-create-home \
            --home-dir /nonexistent --shell /usr/sbin/nologin leukoscope
    fi
    if [ ! -x "$prefix/bin/python3" ]; then
        on_machine python3 -m venv "$prefix"
    fi
    if [ -n "$constraints" ]; then
        on_machine "$prefix/bin/python3" -m pip install --upgrade --constraint "$constraints" "$package"
    else
        on_machine "$prefix/bin/python3" -m pip install --upgrade "$package"
    fi
    directory /etc/leukoscope 0750
    directory /etc/leukoscope/tls 0750
    readable_by_service /etc/leukoscope /etc/leukoscope/tls
}

say "roles: $roles"
if has_role station || has_role collector || has_role repository; then
    install_software
fi

if has_role station; then
    put_configuration 0640 "$here/station.toml" /etc/leukoscope/station.toml
    readable_by_service /etc/leukoscope/station.toml
    if [ -n "$update_root" ]; then
        put 0644 "$update_root" "$trusted"
    fi
    # The units make it too; this is for commands that come before their first start.
    on_machine install -d -o leukoscope -g leukoscope -m 0750 /var/lib/leukoscope /var/lib/leukoscope/update
    put 0644 "$here/99-leukoscope-camera.rules" /etc/udev/rules.d/99-leukoscope-camera.rules
    put 0644 "$here/99-leukoscope-stick.rules" /etc/udev/rules.d/99-leukoscope-stick.rules
    put 0755 "$here/leukoscope-stick" "$prefix/libexec/leukoscope-stick"
    put_unit leukoscope-station.service
    put_unit leukoscope-stick-mount@.service
    put_unit leukoscope-stick@.service
    on_machine udevadm control --reload
    on_machine udevadm trigger --subsystem-match=video4linux
fi

if has_role collector; then
    put_configuration 0640 "$here/collector.env" /etc/leukoscope/collector.env
    readable_by_service /etc/leukoscope/collector.env
    put_unit leukoscope-collector.service
fi

if has_role repository; then
    directory /etc/leukoscope/signing 0700
    put_unit leukoscope-refresh.service
    put_unit leukoscope-refresh.timer
    on_machine install -d -o leukoscope -g leukoscope -m 0755 /var/lib/leukoscope-repository
fi

if has_role broker; then
    put_configuration 0644 "$here/mosquitto/leukoscope.conf" /etc/mosquitto/conf.d/leukoscope.conf
    put_configuration 0644 "$here/mosquitto/leukoscope.acl" /etc/mosquitto/leukoscope/leukoscope.acl
fi

on_machine systemctl daemon-reload

say ''
say 'Next:'
if has_role station; then
    say "  edit /etc/leukoscope/station.toml, then: $prefix/bin/leukoscope-edge doctor --config /etc/leukoscope/station.toml"
    say '  systemctl enable --now leukoscope-station'
    if [ ! -e "$root$trusted" ] && [ -z "$update_root" ]; then
        say "  for signed updates: this again with --update-root, and [update] in station.toml"
    fi
fi
if has_role collector; then
    say '  edit /etc/leukoscope/collector.env, then: systemctl enable --now leukoscope-collector'
fi
if has_role repository; then
    say '  put the keys snapshot-1 and timestamp-1 (.pem, .pub), trusted-root.json and password into /etc/leukoscope/signing,'
    say '  the repository into /var/lib/leukoscope-repository, then: systemctl enable --now leukoscope-refresh.timer'
fi
if has_role broker; then
    say '  put ca.crt, broker.crt and broker.key into /etc/mosquitto/leukoscope, then: systemctl restart mosquitto'
fi
