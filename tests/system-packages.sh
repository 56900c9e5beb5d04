#!/bin/sh
# Makes sure of the system's programs that the suite drives. Installs them where it may (root, apt);
# elsewhere it says which are missing and stops, so that no test is silently left out.
set -eu

missing=""
need() { # need PROGRAM PACKAGE
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1 || missing="$missing $2"
}
need mosquitto mosquitto
need chromium chromium
need systemd-analyze systemd
need udevadm udev
need openssl openssl
need shellcheck shellcheck
need softhsm2-util softhsm2
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing:$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
    exit 0
fi
echo "The suite needs these packages of the system:$missing" >&2
echo "On Debian or Ubuntu: sudo apt-get install$missing" >&2
exit 1
