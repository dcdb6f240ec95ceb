"""The certificate for the TLS port, made by the openssl command at each start, so that the repository holds no key."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path


class CertificateError(Exception):
    """No certificate could be made; the text says what to do."""


def server_context() -> ssl.SSLContext:
    """Return a server's TLS context with a self-signed certificate, whose files are deleted again. Raises CertificateError."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise CertificateError("the TLS port needs the openssl command for its certificate: install openssl, or do without")
    with tempfile.TemporaryDirectory(prefix="sqmon-simulator-") as directory:
        key, certificate = Path(directory, "key.pem"), Path(directory, "certificate.pem")
        command = [openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-subj", "/CN=sqmon-simulator", "-days", "30", "-keyout", str(key), "-out", str(certificate)]
        made = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
        if made.returncode != 0:
            last = (made.stderr.strip().splitlines() or ["no message"])[-1]
            raise CertificateError(f"openssl could not make a certificate for the TLS port: {last}")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
    return context
