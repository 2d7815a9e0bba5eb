"""What stands before a server: TLS with a certificate of a private authority, and a proxy that asks for a token."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import ipaddress
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_authority(folder: Path) -> tuple[Path, Path]:
    """Make an authority that nobody knows, and a certificate of it for this machine.

    Returns:
        The file with the authority's certificate, and that with the server's and its key.
    """
    key, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A private authority")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    now = dt.datetime.now(dt.timezone.utc)

    def certificate(subject: x509.Name, holder: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder(subject_name=subject, issuer_name=name, public_key=holder.public_key())
        dated = builder.not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        return dated.serial_number(x509.random_serial_number())

    authority = (
        certificate(name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    )
    hosts = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    server = (
        certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]), own)
        .add_extension(hosts, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    pem = serialization.Encoding.PEM
    written = own.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    trusted, served = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(authority.sign(key, hashes.SHA256()).public_bytes(pem))
    served.write_bytes(written + server.sign(key, hashes.SHA256()).public_bytes(pem))
    return trusted, served


@contextmanager
def behind_tls(port: int, certificate: Path) -> Iterator[int]:
    """Take TLS connections and hand what they carry on to a port of this machine; the port that takes them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ssl.SSLError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pump(reader, behind[1]), pump(behind[0], writer))

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # a client that does not trust the certificate goes away
    front = loop.run_until_complete(asyncio.start_server(join, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield front.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


class _Asking(BaseHTTPRequestHandler):
    """Hands one request on if it has the token, with the login of the server behind."""

    protocol_version = "HTTP/1.1"
    server: _Proxy

    def do_GET(self) -> None:
        """Hand it on, or refuse it."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer(401, b'{"detail": "Not authenticated"}')
            return
        headers = {name: value for name, value in self.headers.items() if name.lower() in {"content-type", "accept"}}
        headers["Authorization"] = f"Basic {base64.b64encode(self.server.login.encode()).decode()}"
        target = f"http://127.0.0.1:{self.server.target}{self.path}"
        try:
            asked = urllib.request.Request(target, body or None, headers, method=self.command)
            with urllib.request.urlopen(asked, timeout=60) as answer:
                self.answer(answer.status, answer.read(), answer.headers.get("Content-Type", "application/json"))
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - as http.server wants them

    def answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing."""


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, target: int, token: str, login: str) -> None:
        super().__init__(("127.0.0.1", 0), _Asking)
        self.target, self.token, self.login = target, token, login


@contextmanager
def behind_token(port: int, token: str, login: str) -> Iterator[int]:
    """Demand a bearer token before a server that wants a login of its own; the port that takes requests."""
    with _Proxy(port, token, login) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy.server_port
        proxy.shutdown()
