"""A camera on the loopback device that streams numbered JPEGs over HTTP and can misbehave."""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress

import cv2
import numpy as np

from mask_gate.gate.clock import uptime_s

BITS = 16
WIDTH, HEIGHT = 256, 64


def numbered(number, height=HEIGHT):
    """A picture [height, 256, 3] that carries a number in sixteen stripes, black for 0."""
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    stripes = np.repeat(np.array(bits, np.uint8) * 200 + 20, WIDTH // BITS)
    return np.dstack([np.tile(stripes, (height, 1))] * 3)


def number_in(image):
    width = image.shape[1] // BITS
    stripes = image.mean(axis=(0, 2)).reshape(BITS, width).mean(axis=1)
    return sum(1 << bit for bit, level in enumerate(stripes) if level > 120)


def jpeg_of(image):
    return cv2.imencode(".jpg", image)[1].tobytes()


def with_size(jpeg, height, width):
    """The same JPEG, but its header claims another size."""
    data = bytearray(jpeg)
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(data)


class FakeCamera:
    """Serves any number of viewers; `mode` may be changed at any time.

    Modes of a connection that delivers pictures: ok, stall (nothing comes), frozen (one picture
    again and again), loop (five in turn), cut (each JPEG ends early), smeared (bytes in its middle
    are missing), one pixel, bomb (claims 20000 x 20000), grey, sizes (changes with each picture).
    Modes that end or abuse it: close, reset, silent (accepts and says nothing), wrong boundary,
    huge length, huge part, endless head, endless field, trickle (a byte now and then), page (is no
    stream), locked (asks for another password).
    """

    def __init__(self, fps=30.0):
        self.fps = fps
        self.mode = "ok"
        self.chunked = False
        self.with_length = True
        self.stamps = False
        self.sent_s = []  # of picture i, as a time of CLOCK_MONOTONIC
        self.connections = 0
        self.port = 0
        self._listener = None
        self._open = set()
        self.appear()

    @property
    def url(self):
        return f"http://admin:S3cret@127.0.0.1:{self.port}/video.mjpg"

    def appear(self):
        self._listener = listener = self._listen()
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _listen(self):
        """On its port, which is none that the kernel could deal out to others meanwhile."""
        while True:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            port = self.port or random.SystemRandom().randrange(20_000, 32_000)
            try:
                listener.bind(("127.0.0.1", port))
                listener.listen()
            except OSError:
                listener.close()
                if self.port:
                    raise
            else:
                self.port = port
                return listener

    def vanish(self):
        """Like a plug that is pulled: connections end, and are refused from now on."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self):
        """End every connection."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        self._open.add(connection)
        with suppress(OSError), connection:
            connection.recv(4096)
            while self.mode == "silent":
                time.sleep(0.02)
            if self.mode == "endless head":
                self._flood(connection, b"HTTP/1.0 200 OK\r\nX-More: ", b"more and ")
            if self.mode == "locked":
                connection.sendall(b"HTTP/1.0 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n")
                return
            kind = "multipart/x-mixed-replace; boundary=frame"
            if self.mode == "page":
                kind = "text/html"
            lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}"]
            lines += ["Transfer-Encoding: chunked"] if self.chunked else []
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            self._stream(connection)
        self._open.discard(connection)

    def _stream(self, connection):
        due_s = uptime_s()
        while self.mode not in ("close", "page"):
            if self.mode == "reset":
                hard = struct.pack("ii", 1, 0)  # no farewell, all that is on the way is lost
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
                return
            if self.mode not in ("stall", "silent"):
                self._send(connection, self._part(connection))
            due_s = max(due_s + 1 / self.fps, uptime_s() - 0.1)
            time.sleep(max(0.0, due_s - uptime_s()))

    def _send(self, connection, data):
        if self.chunked:  # cut in the middle of everything
            cuts = [data[:7], data[7 : len(data) // 2], data[len(data) // 2 :]]
            data = b"".join(b"%x\r\n%b\r\n" % (len(cut), cut) for cut in cuts if cut)
        if self.mode == "trickle":
            for byte in data:
                connection.sendall(bytes([byte]))
                time.sleep(0.2)
        connection.sendall(data)

    def _part(self, connection):
        head, boundary = b"Content-Type: image/jpeg\r\n", b"frame"
        number = len(self.sent_s)
        jpeg = self._jpeg(number)
        length = len(jpeg)
        if self.mode == "endless field":
            self._flood(connection, b"--frame\r\nX-More: ", b"more and ")
        if self.mode == "huge part":
            self._flood(connection, b"--frame\r\n" + head + b"\r\n\xff\xd8", b"\x55" * 4096)
        if self.mode == "huge length":
            length = 4_000_000_000
        if self.mode == "wrong boundary":
            boundary = b"other"
        if self.with_length or self.mode == "huge length":
            head += b"Content-Length: %d\r\n" % length
        if self.stamps:
            head += b"X-Timestamp: %.6f\r\n" % (uptime_s() + 1e9)
        self.sent_s.append(uptime_s())
        return b"--%b\r\n%b\r\n%b\r\n" % (boundary, head, jpeg)

    def _jpeg(self, number):
        if self.mode == "frozen":
            number = 1
        if self.mode == "loop":
            number %= 5
        jpeg = jpeg_of(self.picture(number))
        if self.mode == "cut":
            return jpeg[: round(len(jpeg) * (0.1 + 0.8 * (number % 9) / 8))]
        if self.mode == "smeared":
            begin = jpeg.index(b"\xff\xda") + 30
            return jpeg[:begin] + jpeg[begin + (len(jpeg) - begin) // 2 :]
        if self.mode == "one pixel":
            return jpeg_of(np.zeros((1, 1, 3), np.uint8))
        if self.mode == "bomb":
            return with_size(jpeg, 20_000, 20_000)
        if self.mode == "grey":
            return jpeg_of(numbered(number)[:, :, 0])
        return jpeg

    def picture(self, number):
        """What it sees when it sends picture `number`."""
        return numbered(number, 64 + 32 * (number % 3) if self.mode == "sizes" else HEIGHT)

    def _flood(self, connection, begin, more):
        connection.sendall(begin)
        while self.mode.startswith(("endless", "huge")):
            connection.sendall(more * 8)
