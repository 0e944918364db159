"""Files with Content Credentials in every state, signed here by a certificate authority of the tests' own."""

import datetime
import io
import json
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import c2pa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from fakevlm.provenance import TrustLists
from tests.provenance_files import IPTC

TYPES = {
    "JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif", "TIFF": "image/tiff",
    "AVIF": "image/avif", "HEIF": "image/heic",
}  # fmt: skip


@dataclass
class Authority:
    """A certificate authority and the certificates that it makes."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def make(cls, name: str = "Test Root") -> "Authority":
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _name(name, "Provenance Tests")
        certificate = (
            _builder(subject, subject, key.public_key(), days=(-3000, 3000))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(certificate, key)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def trust(self) -> TrustLists:
        return TrustLists.of([self.pem], "tests", "2026-11-01")

    def issue(
        self,
        organisation: str,
        key: ec.EllipticCurvePrivateKey,
        *,
        days: tuple[int, int] = (-30, 365),
        ocsp: str | None = None,
    ) -> x509.Certificate:
        """A certificate for signing; `ocsp`: where it says that one may ask whether it was revoked."""
        subject = _name(f"{organisation} signer", organisation)
        address = x509.UniformResourceIdentifier(ocsp or "http://127.0.0.1:9/ocsp")
        asked = x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, address)
        return (
            _builder(subject, self.certificate.subject, key.public_key(), days=days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityInformationAccess([asked]), critical=False)
            .sign(self.key, hashes.SHA256())
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, days: tuple[int, int]
) -> x509.CertificateBuilder:
    today = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(7)
        .not_valid_before(today + datetime.timedelta(days=days[0]))
        .not_valid_after(today + datetime.timedelta(days=days[1]))
    )


def _name(common: str, organisation: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "US"),
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, common),
        ]
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def of_ingredients(kind: str, *numbers: int, **more: Any) -> dict[str, Any]:
    """An action on ingredients, which are named by their numbers."""
    return action(kind, **more, parameters={"ingredientIds": [f"part {number}" for number in numbers]})


def action(kind: str, source: str = "", **more: Any) -> dict[str, Any]:
    """An action of a manifest; `source`: a term of IPTC's, or a whole address."""
    address = source if ":" in source else IPTC + source
    return {"action": kind, **({"digitalSourceType": address} if source else {}), **more}


GENERATED = action("c2pa.created", "trainedAlgorithmicMedia", softwareAgent={"name": "Acme Image", "version": "2"})


class Ingredient(NamedTuple):
    """A file that another one is made from."""

    file: bytes
    format: str
    relationship: str = "parentOf"


class Signer:
    """Signs files in the name of an organisation, with a certificate of the authority."""

    def __init__(
        self,
        authority: Authority,
        organisation: str = "Acme AI, Inc.",
        *,
        days: tuple[int, int] = (-30, 365),
        ocsp: str | None = None,
    ) -> None:
        self._authority = authority
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._valid = _der(authority.issue(organisation, self._key, ocsp=ocsp))
        # The library refuses to sign with a certificate that has expired. Signed is therefore with one that has not,
        # and another one is put into its place, which takes as many bytes.
        self._shown = self._valid
        while days != (-30, 365) and (self._shown == self._valid or len(self._shown) != len(self._valid)):
            self._valid = _der(authority.issue(organisation, self._key))
            self._shown = _der(authority.issue(organisation, self._key, days=days))

    def sign(
        self,
        file: bytes,
        format: str,
        actions: Sequence[dict[str, Any]] = (GENERATED,),
        *,
        ingredients: Sequence[Ingredient] = (),
        assertions: Sequence[dict[str, Any]] = (),
        generator: str = "Acme Program",
        remote: str | None = None,
        thumbnail: bool = False,
    ) -> bytes:
        """The file with a manifest, or with the address of one that is not there."""
        said = [{"label": "c2pa.actions.v2", "data": {"actions": list(actions)}}] if actions else []
        manifest = {
            "claim_generator_info": [{"name": generator, "version": "1.0"}],
            "title": "picture",
            "assertions": [*said, *assertions],
        }
        settings = {
            "verify": {"verify_after_sign": False, "verify_trust": False},
            "builder": {"thumbnail": {"enabled": thumbnail}},
        }
        chain = self._valid, _der(self._authority.certificate)
        pem = "".join(ssl.DER_cert_to_PEM_cert(certificate) for certificate in chain)
        builder = c2pa.Builder.from_json(json.dumps(manifest), context=c2pa.Context.from_dict(settings))
        for number, (data, kind, relationship) in enumerate(ingredients):
            facts = {"title": f"ingredient {number}", "relationship": relationship, "label": f"part {number}"}
            builder.add_ingredient(json.dumps(facts), TYPES[kind], io.BytesIO(data))
        if remote is not None:
            builder.set_no_embed()
            builder.set_remote_url(remote)
        result = io.BytesIO()
        signer = c2pa.Signer.from_callback(self._signature, c2pa.C2paSigningAlg.ES256, pem, None)
        builder.sign(signer, TYPES[format], io.BytesIO(file), result)
        return result.getvalue().replace(self._valid, self._shown)

    def _signature(self, data: bytes) -> bytes:
        signature = self._key.sign(data.replace(self._valid, self._shown), ec.ECDSA(hashes.SHA256()))
        r, s = decode_dss_signature(signature)
        return r.to_bytes(32) + s.to_bytes(32)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)
