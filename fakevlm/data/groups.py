"""Groups of images that belong together: those made from one photograph or video, by their records and paths."""

import posixpath
import re

from fakevlm.data.record import Record

# FaceForensics++ names a video 000, a manipulated one 000_003 (target, source); its DeepFakeDetection part puts actors
# and a scene instead: 01_02__walking__ABC.
_VIDEO = re.compile(r"(\d{2,4})(?:_(\d{2,4}))?(?:__.*)?")
_FLAT_VIDEO = re.compile(r"(\d{3})_(\d{3})(?:_.*)?")
_FRAME = re.compile(r"(?:frame|img|image)?[_-]?\d+", re.IGNORECASE)
_LABEL_FOLDERS = frozenset({"real", "fake", "0_real", "1_fake"})
_VERSION = re.compile(
    r"(?:[ _.-](?:crop|patch|tile|part|aug|copy|flip)\d{0,4}(?:[ _-]\d{1,4})*"
    r"|[ _.-](?:real|fake|forged|original)| ?\(\d+\))+$"
)
_INDEX = re.compile(r"[_-]\d{1,2}$")


def sources(record: Record) -> tuple[str, ...]:
    """Ids of what a record's image was made from, one or two; images that share any of them belong together.

    `source` if the record has it. Else for a frame of a video the video, and for one that shows the face of another
    video both. Else the first folder that is not a label, and the file's name without extension, label, crop or index.
    """
    if record.source is not None:
        return (f"source:{record.source}",)
    *folders, name = posixpath.normpath(record.image).split("/")
    stem = posixpath.splitext(name)[0]
    videos = _videos(folders, stem, record.cate)
    if videos is not None:
        return videos
    top = next((folder for folder in folders if folder.lower() not in _LABEL_FOLDERS), "")
    return (f"file:{top.lower()}/{photograph_stem(stem)}",)


def photograph_stem(stem: str) -> str:
    """A file's name without extension, and without what tells several crops or versions of one photograph apart.

    `IMG_7-crop2` and `IMG_7_fake` become `img_7`. An index of one or two digits goes where an id with a digit is left:
    `000123_4` becomes `000123`, while `photo_4` stays.
    """
    stem = stem.lower()
    stem = _VERSION.sub("", stem) or stem
    shorter = _INDEX.sub("", stem)
    return shorter if any(char.isdigit() for char in shorter) else stem


def _videos(folders: list[str], stem: str, category: str) -> tuple[str, ...] | None:
    """Ids of the videos behind a frame; None for a path that is not a frame of a video."""
    lower = [folder.lower() for folder in folders]
    if "ff++" in lower:
        in_folder = next((match for part in reversed(folders) if (match := _VIDEO.fullmatch(part))), None)
        if in_folder is not None:
            return tuple(f"ff++:{video}" for video in in_folder.groups() if video is not None)
        flat = _FLAT_VIDEO.fullmatch(stem)
        if flat is not None:  # the second number of a real one is that of the frame
            return tuple(f"ff++:{video}" for video in (flat.groups()[:1] if "real" in lower else flat.groups()))
    if category == "deepfake" and folders and _FRAME.fullmatch(stem) and lower[-1] not in {*_LABEL_FOLDERS, category}:
        return (f"video:{'/'.join(folder for folder in lower if folder not in _LABEL_FOLDERS)}",)
    return None
