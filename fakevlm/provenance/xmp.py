"""The properties of an XMP packet, read as a stream without entities."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MAX_PROPERTIES = 5000
_MAX_DEPTH = 64
_MAX_ELEMENTS = 20_000
_MAX_ATTRIBUTES = 50_000
_MAX_VALUE = 64 << 10
_MAX_NAME = 200
"""Characters of a name. One of a field of a structure begins with the names of all that it is within."""
_MAX_ADDRESS = 200
"""Characters of a namespace that are compared."""


@dataclass(slots=True)
class Xmp:
    """Properties of the resource itself, by their names without namespace. What is said of its ingredients and of its
    history lies deeper, and is not taken for the picture's own."""

    values: dict[str, list[str]] = field(default_factory=dict)
    """Name to its texts, in their order."""
    manifest_url: str = ""
    """Where the file says that its C2PA manifest is (`dcterms:provenance`)."""

    def first(self, *names: str) -> str:
        """The first text of the first of the names that has one; "" where none has."""
        return next((text for name in names for text in self.values.get(name, ())), "")


@dataclass(slots=True)
class XmpAllowance:
    """What is still read of the packets of a file."""

    elements: int = _MAX_ELEMENTS
    attributes: int = _MAX_ATTRIBUTES
    properties: int = _MAX_PROPERTIES
    used_up: bool = False
    """Whether there was more than that."""


class _StopError(Exception):
    """Nothing more is read."""


class _Parser:
    """Collects the properties that are attributes or elements of the outermost descriptions."""

    def __init__(self, allowance: XmpAllowance) -> None:
        self.found = Xmp()
        self._allowance = allowance
        self._path: list[str] = []
        self._rdf = -1
        """Place of the outermost rdf:RDF in the path; -1 outside of it."""
        self._spaces: dict[str, str] = {"rdf": _RDF}
        self._hidden: list[dict[str, str | None]] = []
        """For each open element the namespaces that its own took the place of."""
        self._property: str | None = None
        self._space = ""
        self._text: list[str] = []
        self._size = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._allowance.elements -= 1
        self._allowance.attributes -= len(attributes)
        if self._allowance.elements < 0 or self._allowance.attributes < 0:
            self._use_up()
        if len(self._path) >= _MAX_DEPTH:
            raise _StopError
        self._declare(attributes)
        prefix, _, name = tag.rpartition(":")
        if len(name) > _MAX_NAME:
            self._use_up()
        self._path.append("rdf:" + name if self._spaces.get(prefix) == _RDF else name)
        if self._rdf < 0 and self._path[-1] == "rdf:RDF":
            self._rdf = len(self._path) - 1
        where = self._where()
        if where == 0:
            for key, value in attributes.items():
                if key not in ("xmlns", "rdf:about") and not key.startswith("xmlns:"):
                    self._add(*self._named(key), value)
        elif where == 1:
            self._property, self._space = name, self._spaces.get(prefix, "")
            self._clear()
        if where >= 1 and self._property is not None:
            resource = next((value for key, value in attributes.items() if self._is_rdf(key, "resource", "value")), "")
            if resource:
                self._add(self._property, self._space, resource)
            if where == 1 or self._path[-1] == "rdf:Description":
                for key, value in attributes.items():
                    if not key.startswith(("xmlns", "xml:")) and self._named(key)[1] != _RDF:
                        self._add(f"{self._property}/{self._named(key)[0][:_MAX_NAME]}", "", value)

    def _declare(self, attributes: dict[str, str]) -> None:
        """Makes the namespaces of an element known, and keeps those that they hide until its end."""
        declared = {
            name.partition(":")[2]: uri for name, uri in attributes.items() if name == "xmlns" or name[:6] == "xmlns:"
        }
        self._hidden.append({prefix: self._spaces.get(prefix) for prefix in declared})
        self._spaces |= declared

    def end(self, tag: str) -> None:
        where = self._where()
        if where >= 1 and self._property is not None:
            text = "".join(self._text).strip()
            # An item of a list or a plain text is a value; a field of a structure is one under its own name.
            name = self._property
            fields = [part for part in self._path[self._depth() + 1 :] if not part.startswith("rdf:")]
            if text:
                self._add("/".join((name, *fields)), self._space, text)
            self._clear()
            if where == 1:
                self._property = None
        self._path.pop()
        if len(self._path) == self._rdf:
            self._rdf = -1
        for prefix, uri in self._hidden.pop().items():
            if uri is None:
                del self._spaces[prefix]
            else:
                self._spaces[prefix] = uri

    def characters(self, text: str) -> None:
        if self._property is not None and self._size < _MAX_VALUE:
            self._size += len(text)
            self._text.append(text)

    def _clear(self) -> None:
        self._text, self._size = [], 0

    def _use_up(self) -> NoReturn:
        self._allowance.used_up = True
        raise _StopError

    def refuse(self, *_: object) -> None:
        raise _StopError

    def _depth(self) -> int:
        """Place in the path of the property's own element: two below rdf:RDF."""
        return self._rdf + 2 if self._rdf >= 0 else len(self._path) + 1

    def _where(self) -> int:
        """0 for an outermost description, 1 for a property of it, more for what is within, -1 for what is outside."""
        return len(self._path) - self._depth() if self._rdf >= 0 else -1

    def _named(self, key: str) -> tuple[str, str]:
        prefix, _, name = key.rpartition(":")
        return name, self._spaces.get(prefix, "") if prefix else ""

    def _is_rdf(self, key: str, *names: str) -> bool:
        name, space = self._named(key)
        return space == _RDF and name in names

    def _add(self, name: str, space: str, value: str) -> None:
        self._allowance.properties -= 1
        if self._allowance.properties < 0:
            self._use_up()
        if name == "provenance" and "purl.org/dc/terms" in space[:_MAX_ADDRESS]:
            self.found.manifest_url = value
        elif len(name) <= _MAX_NAME:
            self.found.values.setdefault(name, []).append(value[:_MAX_VALUE])


def read_xmp(packet: bytes, allowance: XmpAllowance) -> Xmp:
    """The properties of a packet; those before the damage where it is damaged or declares entities. Never raises.

    `allowance`: what is left for the packets of the file; nothing is read where it was used up.
    """
    if allowance.used_up:
        return Xmp()
    parser = _Parser(allowance)
    reader = expat.ParserCreate()
    reader.buffer_text = True
    reader.StartElementHandler = parser.start
    reader.EndElementHandler = parser.end
    reader.CharacterDataHandler = parser.characters
    reader.StartDoctypeDeclHandler = parser.refuse
    reader.EntityDeclHandler = parser.refuse
    reader.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        for piece in _pieces(packet.strip(b"\0 \r\n\t")):
            reader.Parse(piece, False)
        reader.Parse(b"", True)
    except (expat.ExpatError, _StopError, ValueError, LookupError):
        pass
    return parser.found


def _pieces(packet: bytes) -> Iterator[bytes]:
    for at in range(0, len(packet), 1 << 16):
        yield packet[at : at + (1 << 16)]
