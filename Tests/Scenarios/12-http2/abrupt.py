"""Connections that end at the worst moment, and programs that end while streams arrive. A library that we
used before aborted the process ("Deinited NIOAsyncWriter without calling finish()") when a stream arrived
after the connection's reader had gone."""
import random
import socket
import threading
import time

from frames import ACK, CANCEL, PING, PREFACE, data, frame, message, replaced, rst_stream, settings
from frames import window_update
from judge import LONG

ROUNDS = 400 if LONG else 50


def run(suite):
    endings(suite)
    stops(suite)


def several(peer, first, count, noise, kinds=range(6)):
    """Streams in one write: good and bad ones, and (kind 0) such that stay open."""
    target, out = peer.target, []
    for number in range(first, first + 2 * count, 2):
        fields = target.fields(target.watch or target.path)
        kind = noise.choice(kinds)
        if kind == 0:
            out.append(peer.headers(number, fields))
        elif kind == 1:
            out.append(peer.headers(number, replaced(fields, "content-type", "text/html")))
        elif kind == 2:
            out.append(peer.headers(number, fields) + rst_stream(number, CANCEL))
        elif kind == 3:
            out.append(peer.headers(number, replaced(fields, ":path", "/no/Method"), end=True))
        else:
            out.append(peer.headers(number, fields) + data(number, message(), end=True))
        if noise.randrange(10) == 0:
            out.append(frame(PING, 0, 0, b"anything"))
    return b"".join(out)


def endings(suite):
    def rounds(one):
        def attack(target):
            for number in range(ROUNDS):
                noise = random.Random(number)
                peer = target.silent_peer()
                try:
                    peer.send(PREFACE, settings(), frame(4, ACK, 0))
                    one(peer, noise)
                finally:
                    peer.close()
        return attack

    def close(peer, noise):
        peer.send(several(peer, 1, noise.choice((1, 5, 30)), noise))

    def abort(peer, noise):
        peer.send(several(peer, 1, noise.choice((1, 5, 30)), noise))
        peer.reset_connection()

    def deaf(peer, noise):
        """The reading side is shut, so that the server's writes fail while more arrives."""
        peer.send(several(peer, 1, 5, noise))
        peer.sock.shutdown(socket.SHUT_RD)
        for first in range(11, 71, 20):
            if not send_blind(peer, several(peer, first, 10, noise)):
                break

    def mistaken(peer, noise):
        """A connection error in the middle of streams."""
        peer.send(several(peer, 1, 20, noise), noise.choice((
            frame(6, 0, 0, b"short"), data(0, b"x"), window_update(0, 0), data(9999, b"x"),
            frame(1, 5, 999, b"\x80"))), several(peer, 41, 20, noise))

    def cut(peer, noise):
        """A frame cut short."""
        whole = several(peer, 1, 10, noise)
        peer.send(whole[:noise.randrange(len(whole))])

    def answered(peer, noise):
        """The end comes while the answers do."""
        peer.send(several(peer, 1, 50, noise))
        peer.within(lambda: peer.frames.count("HeadersFrame") > 2, 2.0)
        peer.send(several(peer, 101, 50, noise))
        noise.choice((peer.close, peer.reset_connection))()

    for what, one in (("closed with streams under way", close), ("reset with streams under way", abort),
                      ("whose answers cannot be written", deaf),
                      ("with a mistake between streams", mistaken), ("cut within a frame", cut),
                      ("that end while answers come", answered)):
        suite.check(f"{ROUNDS} connections {what}", rounds(one))

    def untold(target):
        """The end before anything was said."""
        for number in range(ROUNDS):
            sock = target.connect_plain()
            if number % 3 == 1:
                sock.send(PREFACE[:5])
            if number % 3 == 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            sock.close()
    suite.check(f"{ROUNDS} connections that end at once", untold)


def send_blind(peer, content):
    try:
        return peer.sock.send(content) == len(content)
    except OSError:
        return False


def stops(suite):
    """SIGTERM while clients open streams as fast as they can: an orderly end, exit code 0. None of the
    streams stays open, because a program waits for those."""
    def pump(target, stop):
        noise = random.Random(1)
        while not stop.is_set():
            try:
                with target.silent_peer() as peer:
                    peer.send(PREFACE, settings(), frame(4, ACK, 0))
                    for first in range(1, 20_000, 20):
                        if stop.is_set() or not peer.send(
                                several(peer, first, 10, noise, kinds=(2, 3, 4))):
                            break
                        peer.poll()
                        peer.streams.clear()
            except (OSError, AssertionError):
                time.sleep(0.005)

    def ended(target):
        stop = threading.Event()
        pumps = [threading.Thread(target=pump, args=(target, stop), daemon=True) for _ in range(3)]
        for thread in pumps:
            thread.start()
        try:
            time.sleep(0.3)
            assert target.alive, "the program is gone before it was told to"
            # A program waits some seconds for the goodbye of idle TLS clients.
            for other in suite.targets:
                other.forget()
            code = target.program.stop()
            log = target.program.daemon.log()
        finally:
            stop.set()
            for thread in pumps:
                thread.join(10)
            suite.restart()
        words = [line for line in log.split("\n") if "Fatal error" in line]
        assert code == 0, f"exit code {code} {words[:1]}"
    suite.check_alone("SIGTERM while streams arrive ends with exit code 0", ended, on=suite.targets[:2])
    suite.check_alone("SIGTERM while streams arrive ends with exit code 0, again", ended,
                      on=suite.targets[:1])
