"""How old a picture is when a reader has it decoded: several readers of one stream, at once.

    python tests/benchmarks/camera_readers.py --seconds 15

Serves numbered pictures on the loopback device, as MJPEG over HTTP and as H.264 over RTSP (by
GStreamer, with the Python of the system), at 15 and 30 a second. Each reader is a process of its
own; all read the same pictures, so that their latencies are compared picture by picture.
`pyav` is measured where it is installed. `--against CHECKOUT` adds `before`: our own reader as it
is in another checkout.
"""

import argparse
import contextlib
import http.server
import os
import random
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = "MASK_GATE_CHECKOUT"  # tells a reader's process whose code it runs
sys.path[:0] = [os.environ.get(CHECKOUT, str(ROOT)), str(ROOT / "tests/gate/camera")]

from fake_camera import jpeg_of, number_in, numbered  # noqa: E402


class Broadcast(http.server.BaseHTTPRequestHandler):
    """The same numbered pictures to everybody who looks."""

    newest = (0, b"")
    changed = threading.Condition()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        seen = 0
        with contextlib.suppress(OSError):
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: Broadcast.newest[0] > seen)  # noqa: B023
                    seen, jpeg = Broadcast.newest
                head = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                self.wfile.write(head % len(jpeg) + jpeg + b"\r\n")

    def log_message(self, *words):
        pass


@contextlib.contextmanager
def broadcast(fps):
    """Address of a server, and when it sent each picture."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broadcast)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sent_s, over = {}, threading.Event()

    def feed():
        number = 1
        while not over.wait(1 / fps):
            jpeg = jpeg_of(numbered(number))
            with Broadcast.changed:
                sent_s[number] = time.monotonic()
                Broadcast.newest = number, jpeg
                Broadcast.changed.notify_all()
            number += 1

    threading.Thread(target=feed, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", sent_s
    over.set()
    Broadcast.newest = 0, b""
    server.shutdown()


SERVER = """
import sys, time
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
port, fps = sys.argv[1], int(sys.argv[2])
sources, number = [], 0
def push():
    global number
    row = b"".join((b"\\xdc" if number >> bit & 1 else b"\\x14") * 16 * 3 for bit in range(16))
    print(number, time.monotonic(), flush=True)
    for source in sources:
        source.emit("push-buffer", Gst.Buffer.new_wrapped(row * 64))
    number += 1
    return True
GLib.timeout_add(round(1000 / fps), push)
class Factory(GstRtspServer.RTSPMediaFactory):
    def do_configure(self, media):
        sources.append(media.get_element().get_by_name("source"))
factory = Factory()
factory.set_shared(True)
factory.set_launch(
    "( appsrc name=source is-live=true do-timestamp=true format=time "
    f"caps=video/x-raw,format=BGR,width=256,height=64,framerate={fps}/1 ! videoconvert ! "
    "openh264enc gop-size=15 complexity=low ! rtph264pay name=pay0 pt=96 config-interval=1 )")
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1"); server.set_service(port)
server.get_mount_points().add_factory("/door", factory)
server.attach(None)
print("listening", flush=True)
GLib.MainLoop().run()
"""


def read_ours(url):
    from mask_gate.gate.camera.capture_process import open_capture
    from mask_gate.gate.camera.opencv_capture import prepare_capture
    from mask_gate.gate.camera.source import Source, SourceKind

    prepare_capture()
    capture = open_capture(Source(SourceKind.URL, url))
    while capture.grab() is not None:
        yield capture.retrieve()


def read_opencv(url):
    from mask_gate.gate.camera.opencv_capture import open_stream, prepare_capture

    prepare_capture()
    capture = open_stream(url)
    while capture.grab() is not None:
        yield capture.retrieve()


def read_pyav(url):
    import av

    options = {"rtsp_flags": "prefer_tcp", "fpsprobesize": "0", "fflags": "nobuffer"}
    with av.open(url, options=options, timeout=(1.5, 1.5)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.flags |= 1 << 19  # low delay
        for packet in container.demux(stream):
            for frame in packet.decode():
                yield frame.to_ndarray(format="bgr24")


READERS = {"ours": read_ours, "opencv": read_opencv, "pyav": read_pyav, "before": read_ours}


def read(name, url):
    begin_s = time.process_time()
    for image in READERS[name](url):
        now_s = time.monotonic()
        if image is not None:
            print(number_in(image), now_s, time.process_time() - begin_s, flush=True)


def measured(names, url, seconds, checkout=None):
    """By reader: when it had each picture; and its processor time a picture."""
    processes = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--read", name, url],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, CHECKOUT: str(checkout if name == "before" else ROOT)},
        )
        for name in names
    }
    time.sleep(seconds)
    had, cpu = {}, {}
    for name, process in processes.items():
        process.kill()
        lines = [line.split() for line in process.stdout.read().splitlines()[15:]]
        lines = [line for line in lines if len(line) == 3]
        had[name] = {int(number): float(at_s) for number, at_s, _ in lines}
        cpu[name] = (float(lines[-1][2]) - float(lines[0][2])) / len(lines) if lines else 0.0
        process.wait()
    return had, cpu


def show(title, names, sent_s, had, cpu):
    print(f"{title}:")
    common = set.intersection(*(set(had[name]) for name in names)) & set(sent_s)
    for name in names:
        ages = sorted((had[name][n] - sent_s[n]) * 1000 for n in common)
        if not ages:
            print(f"  {name:7} no pictures")
            continue
        paired = statistics.median((had[name][n] - had[names[0]][n]) * 1000 for n in common)
        print(
            f"  {name:7} {len(had[name]):4} pictures, {len(ages)} paired: p50 "
            f"{statistics.median(ages):6.1f} ms, p95 {ages[round(0.95 * (len(ages) - 1))]:6.1f} ms,"
            f" to {names[0]} {paired:+6.1f} ms, processor {cpu[name] * 1000:.1f} ms a picture"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15.0)
    known = [name for name in READERS if name != "before"]
    parser.add_argument("--readers", nargs="+", default=known, choices=known)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--read", nargs=2, metavar=("READER", "URL"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        read(*options.read)
        return
    names = [*options.readers, *(["before"] if options.against else [])]
    for fps in (15, 30):
        with broadcast(fps) as (url, sent_s):
            had, cpu = measured(names, url, options.seconds, options.against)
        show(f"MJPEG over HTTP, {fps} fps", names, sent_s, had, cpu)
    names = [name for name in options.readers if name != "ours"]
    for fps in (15, 30):
        port = random.SystemRandom().randrange(20_000, 32_000)
        with subprocess.Popen(
            ["/usr/bin/python3", "-c", SERVER, str(port), str(fps)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": ""},
        ) as server:
            server.stdout.readline()
            url = f"rtsp://127.0.0.1:{port}/door"
            had, cpu = measured(names, url, options.seconds)
            server.kill()
            lines = [line.split() for line in server.stdout.read().splitlines()]
            sent_s = {int(number): float(at_s) for number, at_s in lines}
        show(f"H.264 over RTSP, {fps} fps", names, sent_s, had, cpu)


if __name__ == "__main__":
    main()
