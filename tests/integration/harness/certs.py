# SPDX-License-Identifier: Apache-2.0
"""Certificates for the TLS tests: an authority, and what it issues."""

import datetime
import ipaddress
import pathlib
import ssl

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Pair:
    """A certificate and its key as PEM files."""

    def __init__(self, folder, stem, cert, key):
        self.cert = pathlib.Path(folder) / f"{stem}.pem"
        self.key = pathlib.Path(folder) / f"{stem}.key"
        self.serial = cert.serial_number
        self.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def config(self):
        """As it stands in a listener's or a route's `tls`."""
        return {"cert": str(self.cert), "key": str(self.key)}

    def server_context(self, client_ca=None):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        if client_ca:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


class Authority:
    """A certificate authority of the tests."""

    def __init__(self, folder, name="ca"):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.count = 0
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Vortex tests {name}")])
        builder = self.builder(self.subject, self.key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False), True
        )
        self.certificate = builder.sign(self.key, hashes.SHA256())
        self.path = self.folder / f"{name}.pem"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def builder(self, subject, public_key):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.subject).public_key(public_key)
        )
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(
            now + datetime.timedelta(days=30)
        )

    def issue(self, *names, client=False, kind="ec"):
        """A certificate for these DNS names, addresses or URIs (a client's when client is true); `kind` of key: ec or rsa."""
        self.count += 1
        key = ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, 2048)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        alternatives = []
        for name in names:
            if "://" in name:
                alternatives.append(x509.UniformResourceIdentifier(name))
                continue
            try:
                alternatives.append(x509.IPAddress(ipaddress.ip_address(name)))
            except ValueError:
                alternatives.append(x509.DNSName(name))
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = self.builder(subject, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        stem = f"{self.name}-{self.count}"
        return Pair(self.folder, stem, builder.sign(self.key, hashes.SHA256()), key)

    def client_context(self, pair=None, *, alpn=("http/1.1",), version=None):
        """What a client needs that trusts this authority, and shows pair if given."""
        context = ssl.create_default_context(cafile=str(self.path))
        if alpn:
            context.set_alpn_protocols(list(alpn))
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        if version:
            context.minimum_version = context.maximum_version = version
        return context
