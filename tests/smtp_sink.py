"""A real SMTP server for the tests of the mail channel.

Usage: smtp_sink.py DIRECTORY

Prints its port on the first line, then writes each message it takes to DIRECTORY, in order, as 0001.eml,
0002.eml and so on, with the envelope's recipients before the message, one a line, and an empty line between.
A recipient that starts with "later" is answered 451, one that starts with "refused" 550. Whoever signs in is
answered that the password is wrong; nobody needs to. It ends when its standard input is closed, so that it
cannot outlive the test.
"""

import pathlib
import sys

try:
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult
except ImportError:
    sys.exit("aiosmtpd is missing: install the package python3-aiosmtpd")


class Sink:
    def __init__(self, directory):
        self.directory = directory
        self.taken = 0

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("later"):
            return "451 4.2.1 not for the moment"
        if address.startswith("refused"):
            return "550 5.1.1 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.taken += 1
        recipients = "".join(f"{recipient}\n" for recipient in envelope.rcpt_tos)
        name = f"{self.taken:04}.eml"
        part = self.directory / f".{name}"
        part.write_bytes(recipients.encode() + b"\n" + envelope.original_content)
        part.rename(self.directory / name)
        return f"250 2.0.0 taken as {self.taken}"


class OnAnyFreePort(Controller):
    """Listens on a port of the system's choice and learns which it is."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def refuse(server, session, envelope, mechanism, credentials):
    return AuthResult(success=False, handled=False)


sink = OnAnyFreePort(
    Sink(pathlib.Path(sys.argv[1])),
    hostname="127.0.0.1",
    port=0,
    authenticator=refuse,
    auth_require_tls=False,
)
sink.start()
print(sink.port, flush=True)
sys.stdin.read()
sink.stop()
