"""An RTSP camera on the loopback, in a process that a test kills.

    python rtsp_server.py PORT LAUNCH-LINE [NAME PASSWORD]

Says its port on standard output when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import importlib
import sys
import threading

from edge.camera.gstreamer_bindings import load_gstreamer


def main(port: str, launch: str, name: str = "", password: str = "") -> None:
    glib = load_gstreamer().GLib
    sys.modules["gi"].require_version("GstRtspServer", "1.0")
    rtsp = importlib.import_module("gi.repository.GstRtspServer")
    server = rtsp.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = rtsp.RTSPMediaFactory()
    factory.set_launch(launch)
    factory.set_shared(True)
    if name:
        may = rtsp.RTSPPermissions()
        for what in ("media.factory.access", "media.factory.construct"):
            may.add_permission_for_role("reader", what, True)
        factory.set_permissions(may)
        reader = rtsp.RTSPToken()
        reader.set_string("media.factory.role", "reader")
        guard = rtsp.RTSPAuth()
        guard.add_basic(rtsp.RTSPAuth.make_basic(name, password), reader)
        server.set_auth(guard)
    server.get_mount_points().add_factory("/smear", factory)
    if server.attach(None) == 0:
        raise SystemExit(f"port {port} is taken")
    print(server.get_bound_port(), flush=True)
    loop = glib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
