"""Lets clients that insist on host names talk to a server that has a SPIFFE ID.

grpcio matches host names and cannot be told otherwise, and a server SVID has none. The tunnel listens
on a Unix socket, speaks TLS 1.3 to the server with Python's `ssl`, checks the chain and the SPIFFE ID
itself, and passes bytes on.
"""
import asyncio
import ssl
import threading

import grpc
from cryptography import x509

from .certificates import uri_sans


class Tunnel:
    """One tunnel. With `certificate` and `key` (files) it presents an SVID of its own.

    It leads to the server, unless `expected` names another SPIFFE ID, at a `port` or a Unix socket `to`.
    """

    def __init__(self, scenario, server, certificate=None, key=None, expected=None, port=None, to=None):
        self.expected = expected or server.id("spire/server")
        self.port = port or server.port
        self.to = to
        Tunnel.count = getattr(Tunnel, "count", 0) + 1
        self.path = scenario.path("tunnels", f"{Tunnel.count}.sock")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["h2"])
        self.context.load_verify_locations(cadata=server.bundle_pem())
        if certificate:
            self.context.load_cert_chain(certificate, key)
        self.failure = None
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True).start()
        ready.wait(10)
        scenario.at_end(self.close)

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda *_: None)
        self._server = self._loop.run_until_complete(
            asyncio.start_unix_server(self._accept, self.path))
        ready.set()
        self._loop.run_forever()

    async def _accept(self, reader, writer):
        try:
            if self.to:
                opening = asyncio.open_unix_connection(
                    self.to, ssl=self.context, server_hostname="")
            else:
                opening = asyncio.open_connection(
                    "127.0.0.1", self.port, ssl=self.context, server_hostname="")
            far_reader, far_writer = await opening
            leaf = x509.load_der_x509_certificate(
                far_writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
            if uri_sans(leaf) != [self.expected]:
                raise ssl.SSLError(f"the server is {uri_sans(leaf)}, not {self.expected}")
        except (OSError, ssl.SSLError) as failure:
            self.failure = failure
            writer.close()
            return
        await asyncio.gather(
            self._pass_on(reader, far_writer), self._pass_on(far_reader, writer),
            return_exceptions=True)

    @staticmethod
    async def _pass_on(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()

    def channel(self):
        return grpc.insecure_channel(
            f"unix:{self.path}",
            options=[("grpc.default_authority", "localhost"), ("grpc.use_local_subchannel_pool", 1),
                     ("grpc.max_receive_message_length", -1),
                     ("grpc.max_send_message_length", -1)])

    def close(self):
        self._loop.call_soon_threadsafe(self._loop.stop)
