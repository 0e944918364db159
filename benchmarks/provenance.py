"""What reading a file's provenance costs, with floors; exits non-zero beyond one.

    python benchmarks/provenance.py                     # about a minute
    python benchmarks/provenance.py --images 60 --turns 1

The images are those of the other benchmarks, with metadata as files in a bucket have it: a third without any, a third
with a camera's EXIF and an editor's XMP, a third with a generator's text, IPTC's fields or a label. The same images are
then signed, with a thumbnail and a parent, by a test authority, and checked against a list of as many certificates as
the official one has. Counted is the CPU time of `read`, in this process, in turns.

"long text" is a ComfyUI workflow of 300 KB, "big" a signed photograph of 12 megapixels, whose hash grows with its size.
"""

import argparse
import io
import json
import sys
import time

from PIL import Image

from benchmarks.images import image_set
from benchmarks.report import ROOT, Report
from fakevlm.image_file.signature import identify
from fakevlm.provenance import TrustLists, read
from tests.image_bytes import chunk
from tests.provenance_files import LABEL, PARAMETERS, exif_block, jpeg_segment, source_type, user_comment, xmp
from tests.signed_files import Authority, Ingredient, Signer, action, of_ingredients

PLAIN_MS, SIGNED_MS = 0.5, 8.0
_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_CERTIFICATES = 40
_HISTORY = "".join(
    f'<rdf:li stEvt:action="saved" stEvt:instanceID="xmp.iid:{number}" stEvt:when="2026-05-01T10:00:00Z" '
    'stEvt:softwareAgent="Adobe Photoshop Lightroom Classic 13.2 (Windows)" stEvt:changed="/"/>'
    for number in range(20)
)
_EDITOR = xmp(
    {"xmp:CreatorTool": "Adobe Photoshop Lightroom Classic 13.2 (Windows)", "photoshop:Credit": "An Agency"},
    elements=f"<xmpMM:History><rdf:Seq>{_HISTORY}</rdf:Seq></xmpMM:History>",
    spaces={"stEvt": "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"},
)
_CAMERA = exif_block(
    {
        0x010F: "Canon",
        0x0110: "EOS R6",
        0x0131: "Adobe Photoshop Lightroom Classic 13.2 (Windows)",
        0x013B: "A. Person",
    },
    {0x9286: user_comment("", "ascii"), 0x9003: "2026:05:01 10:00:00", 0x927C: bytes(20_000)},
)


def main() -> None:
    """Parse, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--turns", type=int, default=5)
    settings = parser.parse_args()
    report = Report("provenance", vars(settings))
    images = image_set(ROOT / ".cache" / "benchmarks", settings.images)
    report.machine["images"] = images.describe()
    authority = Authority.make()
    trust = TrustLists.of(
        [authority.pem, *(Authority.make(f"Root {n}").pem for n in range(_CERTIFICATES))], "bench", "2026-11-01"
    )
    signer = Signer(authority)
    plain = [with_metadata(path.read_bytes(), number) for number, path in enumerate(images.files)]
    small = sorted(plain, key=len)[: len(plain) * 49 // 50]
    arms = {
        "without a manifest": plain,
        "with a manifest": [signed(signer, data) for data in small],
        "long text": [long_text()] * 20,
        "big, with a manifest": [signed(signer, big_photograph())] * 4,
    }
    for files in arms.values():
        turn(files[:20], trust)
    for _ in range(settings.turns):
        for arm, files in arms.items():
            report.add(arm, cpu_ms=turn(files, trust), kb=sum(map(len, files)) / len(files) / 1e3)
    report.require(
        "CPU-ms per image without a manifest", report.median("without a manifest", "cpu_ms"), PLAIN_MS, at_least=False
    )
    report.require(
        "CPU-ms per image with a manifest", report.median("with a manifest", "cpu_ms"), SIGNED_MS, at_least=False
    )
    sys.exit(report.finish())


def turn(files: list[bytes], trust: TrustLists) -> float:
    """CPU-ms per file."""
    started = time.process_time()
    for data in files:
        read(data, trust=trust)
    return (time.process_time() - started) * 1e3 / len(files)


def with_metadata(data: bytes, number: int) -> bytes:
    """The image with what one in three of a bucket's has; see above."""
    kind = identify(data)
    if number % 3 == 0 or kind == "WEBP":
        return data
    if kind == "PNG":
        text = (b"parameters\0" + PARAMETERS.encode()) if number % 2 else b"AIGC\0" + json.dumps(LABEL).encode()
        return data[:33] + chunk(b"tEXt", text) + data[33:]
    end = 4 + int.from_bytes(data[4:6])
    if number % 3 == 1:
        parts = [b"Exif\0\0" + _CAMERA, _XMP_HEADER + _EDITOR]
    elif number % 2:
        parts = [b"Exif\0\0" + exif_block({}, {0x9286: user_comment(PARAMETERS)})]
    else:
        parts = [_XMP_HEADER + source_type("trainedAlgorithmicMedia")]
    return data[:end] + b"".join(jpeg_segment(0xE1, part) for part in parts) + data[end:]


def signed(signer: Signer, data: bytes) -> bytes:
    """The image as an editor signs it that has opened a signed one."""
    kind = identify(data)
    parent = signer.sign(data, kind, [action("c2pa.created", "digitalCapture")], thumbnail=True)
    actions = [of_ingredients("c2pa.opened", 0), action("c2pa.edited", "compositeWithTrainedAlgorithmicMedia")]
    return signer.sign(data, kind, actions, ingredients=[Ingredient(parent, kind)], thumbnail=True)


def long_text() -> bytes:
    """A PNG with a workflow as people with many nodes have it."""
    nodes = {
        str(n): {"inputs": {"text": "a" * 100, "clip": [str(n), 0]}, "class_type": "CLIPTextEncode"}
        for n in range(2000)
    }
    sink = io.BytesIO()
    Image.new("RGB", (1024, 1024)).save(sink, "PNG")
    data = sink.getvalue()
    return data[:33] + chunk(b"tEXt", b"prompt\0" + json.dumps(nodes).encode()) + data[33:]


def big_photograph() -> bytes:
    """A JPEG of some 5 MB."""
    sink = io.BytesIO()
    photograph = Image.open(next(iter(sorted((ROOT / "samples" / "images").glob("*.jpg")))))
    photograph.convert("RGB").resize((4000, 3000)).effect_spread(3).save(sink, "JPEG", quality=95)
    return sink.getvalue()


if __name__ == "__main__":
    main()
