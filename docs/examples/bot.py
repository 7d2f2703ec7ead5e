#!/usr/bin/env python3
"""A client of Qchat in Python, without any library: see docs/protocol.md.

    bot.py http://127.0.0.1:3000 [CHAT]

It starts a chat, or joins the one with this id. There it posts, answers, reacts, uploads a picture and posts it, edits, removes
and restores, and prints what it was answered.
"""

import base64
import http.client
import json
import os
import secrets
import socket
import struct
import sys
import urllib.parse
import zlib

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
VERSION = 5
TIMEOUT = 20

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


def new_id():
    """Returns an id for a message: the same for every retry of it."""
    return "".join(secrets.choice(ALPHABET) for _ in range(16))


class Site:
    """Requests to a Qchat, with the cookie of a session."""

    def __init__(self, address):
        url = urllib.parse.urlparse(address)
        self.host, self.port = url.hostname, url.port or 80
        self.cookies = {}
        self.request("GET", "/")

    def cookie(self):
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def request(self, method, path, body=None, headers=()):
        """Returns the status and the body of an answer."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT)
        connection.request(method, path, body, {**dict(headers), "Cookie": self.cookie()})
        answer = connection.getresponse()
        content = answer.read()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, rest = cookie.partition("=")
            self.cookies[name] = rest.split(";")[0]
        connection.close()
        return answer.status, content

    def form(self, function, **fields):
        """Submits a form, and returns what it is answered as JSON."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return json.loads(self.request("POST", f"/api/{function}", urllib.parse.urlencode(fields), kind)[1])

    def upload(self, chat, picture):
        """Uploads a picture, and returns the ticket with which it can be posted."""
        status, content = self.request("POST", f"/api/picture?chat={chat}", picture)
        answer = json.loads(content)
        if status != 200:
            raise RuntimeError(answer["refused"]["message"])
        return answer["ticket"]


class WebSocket:
    """A WebSocket that sends and receives JSON (RFC 6455)."""

    def __init__(self, site):
        self.stream = socket.create_connection((site.host, site.port), timeout=TIMEOUT)
        self.received = b""
        lines = (
            "GET /live HTTP/1.1",
            f"Host: {site.host}:{site.port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Cookie: {site.cookie()}",
        )
        self.stream.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
        while b"\r\n\r\n" not in self.received:
            self._receive()
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head.decode())

    def _receive(self):
        part = self.stream.recv(65_536)
        if not part:
            raise EOFError("the server has closed the connection")
        self.received += part

    def _take(self, count):
        while len(self.received) < count:
            self._receive()
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def _send(self, kind, content):
        mask = os.urandom(4)
        if len(content) < 126:
            length = bytes([0x80 | len(content)])
        else:
            length = struct.pack(">BH", 0x80 | 126, len(content))
        masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(content))
        self.stream.sendall(bytes([0x80 | kind]) + length + mask + masked)

    def send(self, frame):
        self._send(TEXT, json.dumps(frame, ensure_ascii=False).encode())

    def receive(self):
        message = b""
        while True:
            first, length = self._take(2)
            if length == 126:
                (length,) = struct.unpack(">H", self._take(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._take(8))
            content = self._take(length)
            kind = first & 15
            if kind == CLOSE:
                raise EOFError(content[2:].decode())
            if kind == PING:
                self._send(PONG, content)
            elif kind != PONG:
                message += content
                if first & 0x80:
                    return json.loads(message)


class Bot:
    """A user who is online, and watches chats."""

    def __init__(self, address):
        self.site = Site(address)
        self.socket = WebSocket(self.site)
        self.socket.send({"hello": {"version": VERSION}})
        self.requests = 0
        # The events that came, by their seq.
        self.events = {}
        self.me = self.until(lambda frame: frame.get("welcome"))["me"]

    def until(self, find):
        """Receives until a frame has what is looked for, and returns that."""
        while True:
            frame = self.socket.receive()
            if "event" in frame:
                self.events[frame["event"]["seq"]] = frame["event"]
            found = find(frame)
            if found:
                return found

    def watch(self, chat):
        self.socket.send({"watch": {"chat": chat}})
        return self.until(lambda frame: frame.get("snapshot") or frame.get("refused"))

    def do(self, **command):
        """Executes a command, and returns its seq."""
        self.requests += 1
        request = self.requests
        self.socket.send({"do": {"request": request, "command": command}})

        def answer(frame):
            return next((frame for kind in ("done", "refused") if frame.get(kind, {}).get("request") == request), None)

        frame = self.until(answer)
        if "refused" in frame:
            raise RuntimeError(frame["refused"]["message"])
        return frame["done"]["seq"]

    def post(self, chat, body, **more):
        return self.do(post={"chat": chat, "client_id": new_id(), "body": body, **more})

    def event(self, seq):
        """Returns what has happened at a seq, which may come before or after the answer to its command."""
        return self.events.get(seq) or self.until(lambda _: self.events.get(seq))


def gradient(width, height):
    """Returns a PNG."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    def row(y):
        return b"\0" + bytes(sample for x in range(width) for sample in (x * 255 // width, y * 255 // height, 128))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(map(row, range(height))))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def main(address, chat=None):
    bot = Bot(address)
    print("I am", bot.me["nickname"])
    chat = chat or bot.site.form("start_chat", nickname="Bot", title="A chat of a bot")
    print("The chat is", bot.watch(chat)["chat"]["title"])

    hello = bot.post(chat, "Hello **all**")
    answer = bot.post(chat, "An answer", reply_to=hello)
    print("Quoted:", bot.event(answer)["what"]["posted"]["quote"]["line"])
    bot.do(react={"chat": chat, "message": hello, "emoji": "👍", "is_on": True})

    ticket = bot.site.upload(chat, gradient(640, 400))
    shown = bot.post(chat, "", pictures=[{"ticket": ticket, "alt": "A gradient"}])
    (picture,) = bot.event(shown)["what"]["posted"]["pictures"]
    for version in ("", "/small"):
        status, content = bot.site.request("GET", f"/picture/{chat}/{shown}/{picture['id']}{version}")
        print("The picture:", status, len(content), "bytes")

    bot.do(edit_message={"chat": chat, "message": hello, "body": "Hello again"})
    removal = bot.do(remove_message={"chat": chat, "message": shown})
    # What the message had has to be said again.
    kept = [{"id": picture["id"], "alt": picture["alt"]}]
    restored = bot.do(
        restore_message={"chat": chat, "message": shown, "removal": removal, "body": "", "pictures": kept}
    )
    said = bot.event(restored)["what"]["message_restored"]["said"]
    print("Restored:", len(said["pictures"]), "picture of", said["pictures"][0]["alt"])


if __name__ == "__main__":
    main(*sys.argv[1:])
