"""A camera as an RTSP server (GStreamer's): a still picture under live noise, H.264 or MJPEG.

    /usr/bin/python3 rtsp_server.py PORT PICTURE CODEC [USER PASSWORD]

Runs with the Python of the system, for which Debian has GStreamer's bindings. Prints one line when
it listens on the loopback device at rtsp://127.0.0.1:PORT/door.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CODECS = {
    "h264": "videoconvert ! openh264enc gop-size=15 ! rtph264pay name=pay0 pt=96 config-interval=1",
    "mjpeg": "videoconvert ! video/x-raw,format=I420 ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}
SIZE = "video/x-raw,width=416,height=416,framerate=15/1"


def main(port, picture, codec, *login):
    Gst.init(None)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        f"( compositor name=mix sink_1::alpha=0.06 ! {SIZE} ! {CODECS[codec]} "
        f"filesrc location={picture} ! jpegdec ! imagefreeze is-live=true ! videoconvert ! {SIZE} "
        f"! mix.sink_0 videotestsrc is-live=true pattern=snow ! {SIZE} ! mix.sink_1 )"
    )
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if login:
        user, password = login
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        factory.add_role_from_structure(
            Gst.Structure.from_string(
                "viewer, media.factory.access=(bool)true, media.factory.construct=(bool)true"
            )[0]
        )
    server.get_mount_points().add_factory("/door", factory)
    if server.attach(None) == 0:
        sys.exit(f"port {port} is taken")
    print("listening", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
