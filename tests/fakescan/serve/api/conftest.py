"""A detector that several modules ask, and an image for it."""

import base64
import io
from collections.abc import Iterator

import pytest
from PIL import Image

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.config import ServeConfig
from fakescan.serve.detector import Detector


@pytest.fixture(scope="session")
def detector() -> Iterator[Detector]:
    """With a simulated engine that writes its explanation in 8 steps."""
    detector = Detector(ServeConfig(no_auth=True, engine=SimulatedConfig(tokens=8)))
    yield detector
    detector.close()


@pytest.fixture(scope="session")
def png() -> bytes:
    """A small image."""
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def uri(png: bytes) -> str:
    """It as a `data:` URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
