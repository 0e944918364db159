"""The properties of an XMP packet, read as a stream without entities."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from xml.parsers import expat

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MAX_PROPERTIES = 5000
_MAX_DEPTH = 64
_MAX_ELEMENTS = 20_000
_MAX_VALUE = 64 << 10


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


class _StopError(Exception):
    """Nothing more is read."""


class _Parser:
    """Collects the properties that are attributes or elements of the outermost descriptions."""

    def __init__(self) -> None:
        self.found = Xmp()
        self._path: list[str] = []
        self._spaces: list[dict[str, str]] = [{"rdf": _RDF}]
        self._property: str | None = None
        self._space = ""
        self._text: list[str] = []
        self._size = 0
        self._count = 0
        self._elements = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if len(self._path) >= _MAX_DEPTH or self._elements > _MAX_ELEMENTS:
            raise _StopError
        declared = {
            name.partition(":")[2]: uri for name, uri in attributes.items() if name == "xmlns" or name[:6] == "xmlns:"
        }
        self._spaces.append({**self._spaces[-1], **declared} if declared else self._spaces[-1])
        prefix, _, name = tag.rpartition(":")
        self._path.append("rdf:" + name if self._spaces[-1].get(prefix) == _RDF else name)
        where = self._where()
        if where == 0:
            for key, value in attributes.items():
                if key not in ("xmlns", "rdf:about") and not key.startswith("xmlns:"):
                    self._add(*self._named(key), value)
        elif where == 1:
            self._property, self._space = name, self._spaces[-1].get(prefix, "")
            self._clear()
        if where >= 1 and self._property is not None:
            resource = next((value for key, value in attributes.items() if self._is_rdf(key, "resource", "value")), "")
            if resource:
                self._add(self._property, self._space, resource)
            if where == 1 or self._path[-1] == "rdf:Description":
                for key, value in attributes.items():
                    if not key.startswith(("xmlns", "xml:")) and self._named(key)[1] != _RDF:
                        self._add(f"{self._property}/{self._named(key)[0]}", "", value)

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
        self._spaces.pop()

    def characters(self, text: str) -> None:
        if self._property is not None and self._size < _MAX_VALUE:
            self._size += len(text)
            self._text.append(text)

    def _clear(self) -> None:
        self._text, self._size = [], 0

    def refuse(self, *_: object) -> None:
        raise _StopError

    def _depth(self) -> int:
        """Place in the path of the property's own element: two below rdf:RDF."""
        return self._path.index("rdf:RDF") + 2 if "rdf:RDF" in self._path else len(self._path) + 1

    def _where(self) -> int:
        """0 for an outermost description, 1 for a property of it, more for what is within, -1 for what is outside."""
        return len(self._path) - 1 - self._depth() + 1 if "rdf:RDF" in self._path else -1

    def _named(self, key: str) -> tuple[str, str]:
        prefix, _, name = key.rpartition(":")
        return name, self._spaces[-1].get(prefix, "") if prefix else ""

    def _is_rdf(self, key: str, *names: str) -> bool:
        name, space = self._named(key)
        return space == _RDF and name in names

    def _add(self, name: str, space: str, value: str) -> None:
        self._count += 1
        if self._count > _MAX_PROPERTIES:
            raise _StopError
        if name == "provenance" and "purl.org/dc/terms" in space:
            self.found.manifest_url = value
        else:
            self.found.values.setdefault(name, []).append(value[:_MAX_VALUE])


def read_xmp(packet: bytes) -> Xmp:
    """The properties of a packet; those before the damage where it is damaged or declares entities. Never raises."""
    parser = _Parser()
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
