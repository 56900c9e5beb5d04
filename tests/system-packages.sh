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
have() { # have PATTERN PACKAGES
    # shellcheck disable=SC2086 # a pattern, to be expanded
    ls $1 >/dev/null 2>&1 || missing="$missing $2"
}
have '/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib' gir1.2-gst-rtsp-server-1.0
have '/usr/lib/*/girepository-1.0/GstApp-1.0.typelib' gir1.2-gst-plugins-base-1.0
have '/usr/lib/*/gstreamer-1.0/libgstapp.so' gstreamer1.0-plugins-base
have '/usr/lib/*/gstreamer-1.0/libgstrtsp.so' gstreamer1.0-plugins-good
have /usr/lib/python3/dist-packages/gi python3-gi
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
