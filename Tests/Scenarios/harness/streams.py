"""Reading Workload API streams from a test: messages go into a queue, the end is kept."""
import queue
import threading
import time

import grpc

from . import protos


class Watch:
    """A stream read by a thread of its own."""

    def __init__(self, call):
        self.call = call
        self.messages = queue.Queue()
        self.count = 0
        self.end = None  # status code, once the stream has ended
        self.details = None
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for message in self.call:
                self.count += 1
                self.messages.put((time.monotonic(), message))
            self.end = grpc.StatusCode.OK
        except grpc.RpcError as error:
            self.end, self.details = error.code(), error.details()
        self.ended.set()
        self.messages.put((time.monotonic(), None))

    def next(self, timeout=10.0):
        """The next message; fails when the stream ends or stays silent."""
        try:
            _, message = self.messages.get(timeout=timeout)
        except queue.Empty:
            raise AssertionError(f"no message within {timeout:g} s") from None
        if message is None:
            raise AssertionError(f"the stream ended: {self.end} {self.details}")
        return message

    def until(self, condition, timeout=10.0):
        """Reads messages until one fulfils the condition, and returns it."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.next(max(deadline - time.monotonic(), 0.01))
            if condition(message):
                return message

    def silent_for(self, seconds):
        """Whether nothing arrives for that long."""
        try:
            self.messages.get(timeout=seconds)
            return False
        except queue.Empty:
            return True

    def wait_end(self, timeout=10.0):
        if not self.ended.wait(timeout):
            raise AssertionError(f"the stream did not end within {timeout:g} s")
        return self.end

    def cancel(self):
        self.call.cancel()


def watch_x509(api, timeout=None):
    messages = protos.messages(protos.WORKLOAD_API)
    return Watch(api.FetchX509SVID(
        messages.X509SVIDRequest(), metadata=protos.HEADER, timeout=timeout))


def watch_x509_until(api, condition, timeout=10.0):
    """A stream, and a message of it that fulfils the condition. A stream that ends as unavailable is opened again, as
    stock clients do: the agent may not have found its server yet."""
    deadline = time.monotonic() + timeout
    while True:
        watch = watch_x509(api)
        try:
            return watch, watch.until(condition, max(deadline - time.monotonic(), 0.01))
        except AssertionError:
            if watch.end != grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def ids(message):
    return [svid.spiffe_id for svid in message.svids]


def code_of(call, *arguments, **options):
    """The status code with which a call ends, and its details."""
    try:
        answer = call(*arguments, **options)
        if hasattr(answer, "__next__"):
            next(answer)
            answer.cancel()
    except StopIteration:
        return grpc.StatusCode.OK, ""
    except grpc.RpcError as error:
        return error.code(), error.details() or ""
    return grpc.StatusCode.OK, ""
