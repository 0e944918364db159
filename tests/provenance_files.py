"""Image files with metadata as generators, cameras and editors write it, put together here byte by byte."""

import io
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from PIL import Image, PngImagePlugin

from tests.image_bytes import chunk, picture, saved

JPEG, PNG, WEBP = (saved(picture(48, 32), format) for format in ("JPEG", "PNG", "WEBP"))

IPTC = "http://cv.iptc.org/newscodes/digitalsourcetype/"
PARAMETERS = (
    "a photo of a duck, <lora:detail:0.6>\nNegative prompt: monochrome\n"
    "Steps: 15, Sampler: UniPC, CFG scale: 5, Seed: 235284042, Size: 512x400, Model hash: c0d1994c73, "
    "Model: realisticVisionV20"
)
COMFY_PROMPT = json.dumps(
    {
        "3": {"inputs": {"seed": 8, "steps": 20, "model": ["4", 0]}, "class_type": "KSampler"},
        "4": {"inputs": {"ckpt_name": "sd_xl_base_1.0.safetensors"}, "class_type": "CheckpointLoaderSimple"},
        "9": {"inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}, "class_type": "SaveImage"},
    }
)
COMFY_WORKFLOW = json.dumps(
    {"last_node_id": 9, "last_link_id": 9, "nodes": [{"id": 3, "type": "KSampler"}], "links": [], "version": 0.4}
)
SWARM = json.dumps(
    {"sui_image_params": {"prompt": "a duck", "model": "flux1-dev", "seed": 1, "steps": 20, "swarm_version": "0.9.6.2"}}
)
FOOOCUS = json.dumps(
    {
        "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "juggernautXL_v8", "base_model_hash": "aeb7e9e689",
        "metadata_scheme": "fooocus", "performance": "Speed", "prompt": "a duck", "seed": "123",
        "styles": "['Fooocus V2']",
        "version": "Fooocus v2.5.5",
    }
)  # fmt: skip
INVOKE = json.dumps(
    {"generation_mode": "sdxl_txt2img", "positive_prompt": "a duck", "model": {"model_name": "juggernautXL"}}
)
NOVELAI_COMMENT = json.dumps(
    {
        "steps": 28,
        "sampler": "k_euler_ancestral",
        "seed": 2253955223,
        "strength": 0.4,
        "noise": 0.0,
        "scale": 10.0,
        "uc": "lowres",
    }
)
DRAW_THINGS = json.dumps(
    {
        "c": "a duck",
        "uc": "",
        "model": "flux_1_schnell_q8p.ckpt",
        "sampler": "Euler A",
        "scale": 1,
        "seed": 1,
        "size": "512x512",
        "steps": 4,
        "strength": 1,
    }
)
LABEL = {
    "Label": "1",
    "ContentProducer": "001191110102MACQD9K64010000",
    "ProduceID": "7525300000000000000",
    "ReservedCode1": "",
    "ContentPropagator": "001191110102MACQD9K64010000",
    "PropagateID": "7525300000000000000",
    "ReservedCode2": "",
}


def png_with(*texts: tuple[str, str], after: bool = False) -> bytes:
    """A PNG with texts as Pillow writes them: tEXt where they are Latin-1, else iTXt."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts:
        info.add_text(key, text)
    file = saved(picture(48, 32), "PNG", pnginfo=info)
    return moved_behind_the_pixels(file) if after else file


def moved_behind_the_pixels(file: bytes) -> bytes:
    """A PNG with its texts behind its pixels, where some writers put them."""
    parts, at = [], 8
    while at < len(file):
        end = at + 12 + int.from_bytes(file[at : at + 4])
        parts.append(file[at:end])
        at = end
    texts = [part for part in parts if part[4:8] in (b"tEXt", b"zTXt", b"iTXt")]
    rest = [part for part in parts if part not in texts]
    return file[:8] + b"".join((*rest[:-1], *texts, rest[-1]))


def png_with_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with chunks of one's own before its pixels."""
    return PNG[:33] + b"".join(chunk(kind, body) for kind, body in chunks) + PNG[33:]


def packed_text(key: str, text: bytes) -> tuple[bytes, bytes]:
    """A zTXt chunk."""
    return b"zTXt", key.encode() + b"\0\0" + zlib.compress(text)


def international_text(key: str, text: bytes, *, packed: bool = False) -> tuple[bytes, bytes]:
    """An iTXt chunk."""
    return b"iTXt", key.encode() + (b"\0\x01\0\0\0" if packed else b"\0\0\0\0\0") + (
        zlib.compress(text) if packed else text
    )


def exif_block(tags: Mapping[int, str | bytes], inner: Mapping[int, str | bytes] = {}, *, order: str = "<") -> bytes:
    """A TIFF structure; texts as ASCII, bytes as undefined. `inner`: tags of the EXIF directory."""
    start = 8 + 2 + 12 * (len(tags) + bool(inner)) + 4
    first = _directory(tags, start, order, pointer=bool(inner))
    data = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + first
    if not inner:
        return data
    place = data.index(b"\xff\xfe\xfd\xfc")
    at = len(data) + len(data) % 2
    data = data[:place] + struct.pack(order + "I", at) + data[place + 4 :]
    data += bytes(at - len(data))
    return data + _directory(inner, at + 2 + 12 * len(inner) + 4, order)


def _directory(tags: Mapping[int, str | bytes], values_at: int, order: str, *, pointer: bool = False) -> bytes:
    entries, values = [], b""
    for tag, value in sorted(tags.items()):
        kind, data = (2, value.encode() + b"\0") if isinstance(value, str) else (7, value)
        if len(data) <= 4:
            field = data.ljust(4, b"\0")
        else:
            field = struct.pack(order + "I", values_at + len(values))
            values += data + bytes(len(data) % 2)
        entries.append((tag, struct.pack(order + "HHI", tag, kind, len(data)) + field))
    if pointer:
        entries.append((0x8769, struct.pack(order + "HHI", 0x8769, 4, 1) + b"\xff\xfe\xfd\xfc"))
    body = b"".join(entry for _, entry in sorted(entries))
    return struct.pack(order + "H", len(entries)) + body + bytes(4) + values


def user_comment(text: str, charset: str = "unicode-be") -> bytes:
    """A user comment: `unicode-be` as piexif writes it for AUTOMATIC1111, `unicode-le`, `ascii`, `none`."""
    return {
        "unicode-be": b"UNICODE\0" + text.encode("utf-16-be"),
        "unicode-le": b"UNICODE\0" + text.encode("utf-16-le"),
        "ascii": b"ASCII\0\0\0" + text.encode(),
        "undefined": bytes(8) + text.encode(),
        "none": text.encode(),
    }[charset]


def jpeg_segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments: bytes) -> bytes:
    """A JPEG with segments behind its first."""
    end = 4 + int.from_bytes(JPEG[4:6])
    return JPEG[:end] + b"".join(segments) + JPEG[end:]


def jpeg_with_exif(block: bytes) -> bytes:
    """A JPEG with an EXIF block."""
    return jpeg_with(jpeg_segment(0xE1, b"Exif\0\0" + block))


def jpeg_with_xmp(packet: bytes) -> bytes:
    """A JPEG with an XMP packet."""
    return jpeg_with(jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet))


def riff(kind: bytes, body: bytes) -> bytes:
    """A chunk of a WebP."""
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp_with(kind: bytes, body: bytes) -> bytes:
    """A WebP with one more chunk at its end."""
    return b"RIFF" + struct.pack("<I", len(WEBP) - 8 + len(riff(kind, body))) + WEBP[8:] + riff(kind, body)


def xmp(
    properties: Mapping[str, str] = {}, *, elements: str = "", spaces: Mapping[str, str] = {}, packet: bool = True
) -> bytes:
    """An XMP packet: properties as attributes, and elements as they are."""
    names = {
        "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
        "photoshop": "http://ns.adobe.com/photoshop/1.0/",
        "xmp": "http://ns.adobe.com/xap/1.0/",
        "dc": "http://purl.org/dc/elements/1.1/",
        "dcterms": "http://purl.org/dc/terms/",
        "exif": "http://ns.adobe.com/exif/1.0/",
        "xmpMM": "http://ns.adobe.com/xap/1.0/mm/",
        "TC260": "http://www.tc260.org.cn/ns/AIGC/1.0/",
        **spaces,
    }
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in names.items())
    attributes = " ".join(
        f'{name}="{value.replace("&", "&amp;").replace(chr(34), "&quot;").replace("<", "&lt;")}"'
        for name, value in properties.items()
    )
    body = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="XMP Core 6.0.0">'
        f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" {declared} {attributes}>{elements}</rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    if not packet:
        return body.encode()
    return b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>' + body.encode() + b'\n<?xpacket end="w"?>'


def source_type(term: str) -> bytes:
    """An XMP packet with a digital source type, as most write it."""
    return xmp({"Iptc4xmpExt:DigitalSourceType": IPTC + term})


def pillow_exif(tags: Mapping[int, Any], format: str) -> bytes:
    """A file with EXIF as Pillow writes it, which is what most generators in Python do."""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    file = io.BytesIO()
    picture(48, 32).save(file, format, exif=exif)
    return file.getvalue()


UUID = "3f2c1d5e-0b1a-4c3d-9e8f-7a6b5c4d3e2f"
GROK_SIGNATURE = "Signature: " + "q8Zt3kPzVw" * 8 + "=="


def gif_with_xmp(packet: bytes) -> bytes:
    """A GIF with XMP before its end, as Adobe's specification of XMP has it."""
    trailer = b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    return saved(picture(48, 32, "P"), "GIF")[:-1] + b"\x21\xff\x0bXMP DataXMP" + packet + trailer + b";"


def raw_profile(name: str, data: bytes) -> bytes:
    """A profile as ImageMagick writes it into a PNG."""
    digits = data.hex()
    lines = "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    return f"\n{name}\n{len(data):8}\n{lines}\n".encode()


def extended_xmp(packet: bytes) -> list[bytes]:
    """Segments of XMP that is too long for one, the last piece first."""
    parts = [(at, packet[at : at + 300]) for at in range(0, len(packet), 300)]
    head = b"http://ns.adobe.com/xmp/extension/\0" + b"0123456789ABCDEF" * 2 + struct.pack(">I", len(packet))
    return [jpeg_segment(0xE1, head + struct.pack(">I", at) + part) for at, part in reversed(parts)]


class Claim(NamedTuple):
    """A file and the record that is right for it."""

    file: bytes
    provenance: str
    basis: str | None
    generator: str | None
    tags: Mapping[str, str] = {}
    """Names of exiftool for what is in it, with their values; for fields that it knows."""


def claims() -> dict[str, Claim]:
    """A file for each way in which generators, platforms and editors write what they say, without signatures."""
    label = json.dumps(LABEL)
    escaped = label.replace('"', "&quot;")
    webui = "Stable Diffusion web UI"
    seq = '<{0}><rdf:Alt><rdf:li xml:lang="x-default">{1}</rdf:li></rdf:Alt></{0}>'
    producer = LABEL["ContentProducer"]
    dst = {"Iptc4xmpExt:DigitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    trained = {"XMP-iptcExt:DigitalSourceType": IPTC + "trainedAlgorithmicMedia"}
    job = f"a red cat --v 5.2 Job ID: {UUID}"
    return {
        # AUTOMATIC1111 and what writes its line of settings
        "a1111 png": Claim(
            png_with(("parameters", PARAMETERS)), "ai_generated", "text", webui, {"PNG:Parameters": PARAMETERS}
        ),
        "a1111 png itxt": Claim(png_with(("parameters", "雪 " + PARAMETERS)), "ai_generated", "text", webui),
        "a1111 png behind the pixels": Claim(
            png_with(("parameters", PARAMETERS), after=True), "ai_generated", "text", webui
        ),
        "a1111 png ztxt": Claim(
            png_with_chunks(packed_text("parameters", PARAMETERS.encode())), "ai_generated", "text", webui
        ),
        "a1111 png itxt packed": Claim(
            png_with_chunks(international_text("parameters", PARAMETERS.encode(), packed=True)),
            "ai_generated",
            "text",
            webui,
        ),
        "a1111 png text in utf-8": Claim(
            png_with_chunks((b"tEXt", b"parameters\0" + ("雪 " + PARAMETERS).encode())), "ai_generated", "text", webui
        ),
        **{
            f"a1111 jpeg {charset} {order}": Claim(
                jpeg_with_exif(exif_block({}, {0x9286: user_comment(PARAMETERS, charset)}, order=order)),
                "ai_generated",
                "text",
                webui,
            )
            for charset in ("unicode-be", "unicode-le", "ascii", "undefined", "none")
            for order in "<>"
        },
        "a1111 webp": Claim(
            webp_with(b"EXIF", b"Exif\0\0" + exif_block({}, {0x9286: user_comment(PARAMETERS)})),
            "ai_generated",
            "text",
            webui,
        ),
        "a1111 gif": Claim(
            saved(picture(48, 32, "P"), "GIF", comment=PARAMETERS.encode()), "ai_generated", "text", webui
        ),
        "a1111 jpeg comment": Claim(jpeg_with(jpeg_segment(0xFE, PARAMETERS.encode())), "ai_generated", "text", webui),
        "a1111 avif": Claim(
            saved(picture(48, 32), "AVIF", exif=exif_block({}, {0x9286: user_comment(PARAMETERS)})),
            "ai_generated",
            "text",
            webui,
        ),
        "a1111 heif": Claim(
            saved(picture(48, 32), "HEIF", exif=b"Exif\0\0" + exif_block({}, {0x9286: user_comment(PARAMETERS)})),
            "ai_generated",
            "text",
            webui,
        ),
        "a1111 xp comment": Claim(
            jpeg_with_exif(exif_block({0x9C9C: PARAMETERS.encode("utf-16-le") + b"\0\0"})),
            "ai_generated",
            "text",
            webui,
        ),
        "forge": Claim(
            png_with(("parameters", PARAMETERS + ", Version: f2.0.1v1.10.1-previous-659")),
            "ai_generated",
            "text",
            webui + " Forge",
        ),
        "sd.next": Claim(
            png_with(("parameters", PARAMETERS + ", App: SD.Next, Version: 0eb4a98")), "ai_generated", "text", "SD.Next"
        ),
        "fooocus in a1111's form": Claim(
            png_with(("parameters", PARAMETERS + ", Version: Fooocus v2.5.5"), ("fooocus_scheme", "a1111")),
            "ai_generated",
            "text",
            "Fooocus",
        ),
        # Workflows and JSON
        "comfyui png": Claim(
            png_with(("prompt", COMFY_PROMPT), ("workflow", COMFY_WORKFLOW)),
            "ai_generated",
            "text",
            "ComfyUI",
            {"PNG:Prompt": COMFY_PROMPT},
        ),
        "comfyui png, workflow alone": Claim(png_with(("workflow", COMFY_WORKFLOW)), "ai_generated", "text", "ComfyUI"),
        "comfyui png, very long": Claim(
            png_with(("prompt", COMFY_PROMPT[:-1] + ', "11": {"text": "' + "a" * 200_000 + '"}}')),
            "ai_generated",
            "text",
            "ComfyUI",
        ),
        "comfyui webp": Claim(
            pillow_exif({0x0110: f"prompt:{COMFY_PROMPT}", 0x010F: f"workflow:{COMFY_WORKFLOW}"}, "WEBP"),
            "ai_generated",
            "text",
            "ComfyUI",
            {"IFD0:Model": f"prompt:{COMFY_PROMPT}"},
        ),
        "invokeai": Claim(
            png_with(("invokeai_metadata", INVOKE), ("invokeai_graph", '{"id": "x", "nodes": {}}')),
            "ai_generated",
            "text",
            "InvokeAI",
        ),
        "invokeai, the graph alone": Claim(
            png_with(("invokeai_graph", '{"id": "x", "nodes": {"a": {}}, "edges": []}')),
            "ai_generated",
            "text",
            "InvokeAI",
        ),
        "invokeai, sd-metadata": Claim(
            png_with(
                (
                    "sd-metadata",
                    '{"app_id": "invoke-ai/InvokeAI", "app_version": "2.2.4", "image": {}}',
                )
            ),
            "ai_generated",
            "text",
            "InvokeAI",
        ),
        "invokeai, dream": Claim(
            png_with(("Dream", '"a duck" -s 50 -S 2980747362 -W 512 -H 768 -C 5 -A k_lms')),
            "ai_generated",
            "text",
            "InvokeAI",
        ),
        "novelai": Claim(
            png_with(
                ("Title", "AI generated image"),
                ("Description", "a duck"),
                ("Software", "NovelAI"),
                ("Source", "Stable Diffusion 1D44365E"),
                ("Comment", NOVELAI_COMMENT),
            ),
            "ai_generated",
            "text",
            "NovelAI",
            {"PNG:Software": "NovelAI"},
        ),
        "novelai, comment alone": Claim(png_with(("Comment", NOVELAI_COMMENT)), "ai_generated", "text", "NovelAI"),
        "fooocus png": Claim(
            png_with(("parameters", FOOOCUS), ("fooocus_scheme", "fooocus")), "ai_generated", "text", "Fooocus"
        ),
        "fooocus jpeg": Claim(
            pillow_exif({0x9286: FOOOCUS, 0x0131: "Fooocus v2.5.5", 0x927C: "fooocus"}, "JPEG"),
            "ai_generated",
            "text",
            "Fooocus",
        ),
        "fooocus webp": Claim(
            pillow_exif({0x9286: FOOOCUS, 0x0131: "Fooocus v2.5.5", 0x927C: "fooocus"}, "WEBP"),
            "ai_generated",
            "text",
            "Fooocus",
        ),
        "swarmui png": Claim(png_with(("parameters", SWARM)), "ai_generated", "text", "SwarmUI"),
        "swarmui jpeg": Claim(
            jpeg_with_exif(exif_block({}, {0x9286: user_comment(SWARM, "ascii")})), "ai_generated", "text", "SwarmUI"
        ),
        "easy diffusion png": Claim(
            png_with(
                ("prompt", "a duck"),
                ("negative_prompt", ""),
                ("seed", "1"),
                ("num_inference_steps", "25"),
                ("guidance_scale", "7.5"),
                ("use_stable_diffusion_model", "sd-v1-5"),
            ),
            "ai_generated",
            "text",
            "Easy Diffusion",
        ),
        "easy diffusion jpeg": Claim(
            jpeg_with_exif(
                exif_block(
                    {},
                    {
                        0x9286: user_comment(
                            json.dumps(
                                {"prompt": "a", "negative_prompt": "", "num_inference_steps": 25, "guidance_scale": 7.5}
                            )
                        )
                    },
                )
            ),
            "ai_generated",
            "text",
            "Easy Diffusion",
        ),
        "draw things": Claim(
            jpeg_with_xmp(
                xmp(
                    {"xmp:CreatorTool": "Draw Things"},
                    elements=seq.format("exif:UserComment", DRAW_THINGS.replace("&", "&amp;")),
                )
            ),
            "ai_generated",
            "text",
            "Draw Things",
        ),
        # IPTC and Google
        "midjourney": Claim(
            png_with_chunks(
                (b"tEXt", b"Description\0" + job.encode()),
                international_text("XML:com.adobe.xmp", source_type("trainedAlgorithmicMedia")),
            ),
            "ai_generated",
            "iptc",
            "Midjourney",
            {**trained, "PNG:Description": job},
        ),
        "midjourney, text alone": Claim(png_with(("Description", job)), "ai_generated", "text", "Midjourney"),
        "iptc jpeg": Claim(
            jpeg_with_xmp(source_type("trainedAlgorithmicMedia")), "ai_generated", "iptc", None, trained
        ),
        "iptc webp": Claim(webp_with(b"XMP ", source_type("trainedAlgorithmicMedia")), "ai_generated", "iptc", None),
        "iptc element": Claim(
            jpeg_with_xmp(
                xmp(
                    elements=f"<Iptc4xmpExt:DigitalSourceType>{IPTC}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType>"
                )
            ),
            "ai_generated",
            "iptc",
            None,
            trained,
        ),
        "iptc resource, another prefix": Claim(
            jpeg_with_xmp(
                xmp(
                    elements=f'<iptcExt:DigitalSourceType rdf:resource="{IPTC}trainedAlgorithmicMedia"/>',
                    spaces={"iptcExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"},
                )
            ),
            "ai_generated",
            "iptc",
            None,
        ),
        "iptc https": Claim(
            jpeg_with_xmp(
                xmp(
                    {
                        "Iptc4xmpExt:DigitalSourceType": "https://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia/"
                    }
                )
            ),
            "ai_generated",
            "iptc",
            None,
        ),
        "iptc code alone": Claim(
            jpeg_with_xmp(xmp({"Iptc4xmpExt:DigitalSourceType": "trainedAlgorithmicMedia"})),
            "ai_generated",
            "iptc",
            None,
        ),
        "iptc in a list, older capitals": Claim(
            jpeg_with_xmp(
                xmp(
                    elements="<Iptc4xmpExt:DigitalSourcefileType><rdf:Bag><rdf:li>"
                    f"{IPTC}compositeSynthetic</rdf:li></rdf:Bag></Iptc4xmpExt:DigitalSourcefileType>"
                )
            ),
            "ai_edited",
            "iptc",
            None,
        ),
        "iptc avif": Claim(saved(picture(48, 32), "AVIF", xmp=xmp(dst)), "ai_generated", "iptc", None),
        "iptc heif": Claim(saved(picture(48, 32), "HEIF", xmp=xmp(dst)), "ai_generated", "iptc", None),
        "iptc tiff": Claim(saved(picture(48, 32), "TIFF", tiffinfo={700: xmp(dst)}), "ai_generated", "iptc", None),
        "iptc gif": Claim(gif_with_xmp(xmp(dst)), "ai_generated", "iptc", None),
        "iptc png of imagemagick": Claim(
            png_with_chunks(packed_text("Raw profile type xmp", raw_profile("xmp", xmp(dst)))),
            "ai_generated",
            "iptc",
            None,
        ),
        "iptc jpeg, extended": Claim(jpeg_with(*extended_xmp(xmp(dst))), "ai_generated", "iptc", None),
        "iptc utf-16": Claim(
            jpeg_with_xmp(xmp(dst, packet=False).decode().encode("utf-16")), "ai_generated", "iptc", None
        ),
        "iptc composite with ai": Claim(
            jpeg_with_xmp(source_type("compositeWithTrainedAlgorithmicMedia")),
            "ai_edited",
            "iptc",
            None,
            {"XMP-iptcExt:DigitalSourceType": IPTC + "compositeWithTrainedAlgorithmicMedia"},
        ),
        "iptc composite synthetic": Claim(jpeg_with_xmp(source_type("compositeSynthetic")), "ai_edited", "iptc", None),
        "iptc capture": Claim(jpeg_with_xmp(source_type("digitalCapture")), "captured", "iptc", None),
        "iptc computational capture": Claim(
            jpeg_with_xmp(source_type("computationalCapture")), "captured", "iptc", None
        ),
        "iptc composite": Claim(jpeg_with_xmp(source_type("composite")), "composite", "iptc", None),
        "iptc art": Claim(jpeg_with_xmp(source_type("digitalArt")), "none", None, None),
        "google": Claim(
            jpeg_with_xmp(
                xmp(
                    {
                        "photoshop:Credit": "Made with Google AI",
                        "Iptc4xmpExt:DigitalSourceType": IPTC + "trainedAlgorithmicMedia",
                        "Iptc4xmpExt:DigitalSourceFileType": IPTC + "trainedAlgorithmicMedia",
                    }
                )
            ),
            "ai_generated",
            "iptc",
            "Google AI",
            {"XMP-photoshop:Credit": "Made with Google AI", **trained},
        ),
        "google, edited": Claim(
            jpeg_with_xmp(
                xmp(
                    {
                        "photoshop:Credit": "Made with Google AI",
                        "Iptc4xmpExt:DigitalSourceType": IPTC + "compositeWithTrainedAlgorithmicMedia",
                    }
                )
            ),
            "ai_edited",
            "iptc",
            "Google AI",
        ),
        "google, credit alone": Claim(
            jpeg_with_xmp(xmp({"photoshop:Credit": "Made with Google AI"})), "ai_generated", "iptc", "Google AI"
        ),
        "google photos": Claim(
            jpeg_with_xmp(xmp({"photoshop:Credit": "AI-Generated with Google Photos"})),
            "ai_generated",
            "iptc",
            "Google AI",
        ),
        "google, file type alone": Claim(
            jpeg_with_xmp(xmp({"Iptc4xmpExt:DigitalSourceFileType": IPTC + "trainedAlgorithmicMedia"})),
            "ai_generated",
            "iptc",
            None,
        ),
        "google, iptc-iim": Claim(
            jpeg_with(
                jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\0\0\0\0\0\x18\x1c\x02\x6e\0\x13Made with Google AI")
            ),
            "ai_generated",
            "iptc",
            "Google AI",
            {"IPTC:Credit": "Made with Google AI"},
        ),
        "iptc 2025.1": Claim(
            jpeg_with_xmp(
                xmp(
                    {"Iptc4xmpExt:AISystemUsed": "Imaginary Model", "Iptc4xmpExt:AISystemVersionUsed": "3"},
                    elements=seq.format("Iptc4xmpExt:AIPromptInformation", "a duck"),
                )
            ),
            "ai_generated",
            "iptc",
            "Imaginary Model 3",
        ),
        "iptc 2025.1, edited": Claim(
            jpeg_with_xmp(
                xmp(
                    {
                        "Iptc4xmpExt:AISystemUsed": "Model",
                        "Iptc4xmpExt:DigitalSourceType": IPTC + "compositeWithTrainedAlgorithmicMedia",
                    }
                )
            ),
            "ai_edited",
            "iptc",
            "Model",
        ),
        # Names and signatures in EXIF
        "ideogram": Claim(
            jpeg_with_exif(exif_block({0x010F: "Ideogram AI"})),
            "ai_generated",
            "exif",
            "Ideogram AI",
            {"IFD0:Make": "Ideogram AI"},
        ),
        "reve": Claim(
            webp_with(b"EXIF", exif_block({0x0131: "reve.com"}, order=">")), "ai_generated", "exif", "reve.com"
        ),
        "reve xmp": Claim(jpeg_with_xmp(xmp({"xmp:CreatorTool": "reve.com"})), "ai_generated", "exif", "reve.com"),
        "firefly": Claim(
            png_with_chunks((b"eXIf", exif_block({0x0131: "Adobe Firefly"}))),
            "ai_generated",
            "exif",
            "Adobe Firefly",
            {"IFD0:Software": "Adobe Firefly"},
        ),
        "luma": Claim(png_with(("Source", "Luma AI")), "ai_generated", "text", "Luma AI"),
        "grok": Claim(
            jpeg_with_exif(exif_block({0x010E: GROK_SIGNATURE, 0x013B: UUID})),
            "ai_generated",
            "exif",
            "Grok",
            {"IFD0:ImageDescription": GROK_SIGNATURE, "IFD0:Artist": UUID},
        ),
        # GB 45438
        "aigc xmp attribute": Claim(jpeg_with_xmp(xmp({"TC260:AIGC": label})), "ai_generated", "aigc_label", producer),
        "aigc xmp attribute, escaped twice": Claim(
            jpeg_with_xmp(xmp({"TC260:AIGC": escaped})), "ai_generated", "aigc_label", producer
        ),
        "aigc xmp element": Claim(
            png_with_chunks(
                international_text("XML:com.adobe.xmp", xmp(elements=f"<TC260:AIGC>{escaped}</TC260:AIGC>"))
            ),
            "ai_generated",
            "aigc_label",
            producer,
        ),
        "aigc xmp structure": Claim(
            jpeg_with_xmp(
                xmp(
                    elements='<TC260:AIGC rdf:parseType="Resource"><TC260:Label>1</TC260:Label>'
                    f"<TC260:ContentProducer>{producer}</TC260:ContentProducer></TC260:AIGC>"
                )
            ),
            "ai_generated",
            "aigc_label",
            producer,
        ),
        "aigc png": Claim(png_with(("AIGC", label)), "ai_generated", "aigc_label", producer),
        "aigc exif": Claim(
            jpeg_with_exif(exif_block({}, {0x9286: user_comment(json.dumps({"AIGC": LABEL}), "ascii")})),
            "ai_generated",
            "aigc_label",
            producer,
        ),
        "aigc segment": Claim(
            jpeg_with(jpeg_segment(0xEB, b"AIGC" + label.encode())), "ai_generated", "aigc_label", producer
        ),
        "aigc, a number": Claim(
            png_with(("AIGC", json.dumps({**LABEL, "Label": 1}))), "ai_generated", "aigc_label", producer
        ),
        "aigc, minimax": Claim(
            png_with(("AIGC", json.dumps({**LABEL, "Label": "AIGC"}))), "ai_generated", "aigc_label", producer
        ),
        "aigc, tencent": Claim(
            jpeg_with_exif(
                exif_block(
                    {
                        0x010E: json.dumps(
                            {"AIGC": {"Label": "1", "ServiceProvider": "Tencent Cloud", "ServiceUser": "1"}}
                        )
                    }
                )
            ),
            "ai_generated",
            "aigc_label",
            "Tencent Cloud",
        ),
        "aigc, tencent, bare": Claim(
            jpeg_with_exif(exif_block({0x010E: '{"ServiceProvider":"Tencent Cloud","ServiceUser":"1"}'})),
            "ai_generated",
            "aigc_label",
            "Tencent Cloud",
        ),
        "aigc, may be": Claim(png_with(("AIGC", json.dumps({**LABEL, "Label": "2"}))), "none", None, None),
        "aigc, suspected": Claim(
            jpeg_with_xmp(xmp({"TC260:AIGC": json.dumps({**LABEL, "Label": "3"})})), "none", None, None
        ),
        # What says nothing of AI
        "photograph": Claim(
            jpeg_with_exif(
                exif_block(
                    {0x010F: "Canon", 0x0110: "EOS R6", 0x0131: "Adobe Photoshop Lightroom Classic 13.2 (Windows)"},
                    {0x9286: user_comment("at the lake", "ascii")},
                )
            ),
            "none",
            None,
            None,
        ),
        "words of a photograph": Claim(
            jpeg_with_exif(
                exif_block(
                    {
                        0x010E: "Adobe Firefly is not what made this, nor Midjourney; Steps: 3 to the lake",
                        0x013B: "Grok",
                    }
                )
            ),
            "none",
            None,
            None,
        ),
        "a credit": Claim(
            jpeg_with_xmp(
                xmp(
                    {
                        "photoshop:Credit": "Photo by Google AI researchers",
                        "xmp:CreatorTool": "Adobe Photoshop 25.0 (Macintosh)",
                    }
                )
            ),
            "none",
            None,
            None,
        ),
        "an ingredient's source type": Claim(
            jpeg_with_xmp(
                xmp(
                    elements=(
                        '<xmpMM:Pantry><rdf:Bag><rdf:li rdf:parseType="Resource"><Iptc4xmpExt:DigitalSourceType>'
                        f"{IPTC}trainedAlgorithmicMedia</Iptc4xmpExt:DigitalSourceType></rdf:li><rdf:li>"
                        f'<rdf:Description Iptc4xmpExt:DigitalSourceType="{IPTC}trainedAlgorithmicMedia"/>'
                        "</rdf:li></rdf:Bag></xmpMM:Pantry>"
                    )
                )
            ),
            "none",
            None,
            None,
        ),
        "other texts": Claim(
            png_with(
                ("Comment", "Created with GIMP"),
                ("Software", "Adobe ImageReady"),
                ("prompt", "what the teacher asked"),
                ("parameters", "f=50mm"),
                ("workflow", '{"name": "print"}'),
            ),
            "none",
            None,
            None,
        ),
        "plain": Claim(JPEG, "none", None, None),
    }
