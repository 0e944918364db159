"""What a GPU can compute at most, by the name that its driver gives it."""

import re
from typing import NamedTuple


class Peak(NamedTuple):
    """Dense peaks of the tensor cores in TFLOPS: without sparsity, which doubles most numbers of data sheets."""

    bits16: float
    """bfloat16 and float16, with sums in float32."""
    fp8: float | None
    """FP8 with sums in float32; None where the tensor cores have no FP8, and vLLM computes it in 16 bits."""
    source: str


_HOPPER = "NVIDIA H100 data sheet and Hopper architecture white paper"
_BLACKWELL = "NVIDIA Blackwell architecture technical brief"
_AMPERE = "NVIDIA A100 data sheet"
_ADA = "NVIDIA Ada GPU architecture white paper, appendix A"

_PEAKS: tuple[tuple[str, Peak], ...] = (
    (r"B200", Peak(2250, 4500, _BLACKWELL)),
    (r"GB200", Peak(2500, 5000, _BLACKWELL)),
    (r"H200", Peak(989.4, 1978.9, "NVIDIA H200 data sheet")),
    (r"H200 NVL", Peak(835.5, 1671, "NVIDIA H200 data sheet")),
    (r"GH200 (96|120|144|480)GB( HBM3e?)?", Peak(989.4, 1978.9, "NVIDIA GH200 data sheet")),
    (r"H100 (80GB HBM3|SXM5( 80GB)?)", Peak(989.4, 1978.9, _HOPPER)),
    (r"H100 PCIe", Peak(756.4, 1512.9, _HOPPER)),
    (r"H100 NVL", Peak(835.5, 1671, _HOPPER)),
    (r"H800", Peak(989.4, 1978.9, "NVIDIA H800 data sheet: that of the H100, with less NVLink")),
    (r"H20", Peak(148, 296, "NVIDIA H20 data sheet")),
    (r"A100(-| )(SXM4|SXM|PCIE|PCIe)(-| )?(40GB|80GB)?", Peak(312, None, _AMPERE)),
    (r"A100 80GB PCIe", Peak(312, None, _AMPERE)),
    (r"A800(-SXM4-80GB|-SXM4-40GB| 80GB PCIe)", Peak(312, None, _AMPERE)),
    (r"A30", Peak(165, None, "NVIDIA A30 data sheet")),
    (r"A40", Peak(149.7, None, "NVIDIA A40 data sheet")),
    (r"A10", Peak(125, None, "NVIDIA A10 data sheet")),
    (r"A10G", Peak(70, None, "NVIDIA A10G data sheet")),
    (r"L40S", Peak(362.05, 733, "NVIDIA L40S data sheet")),
    (r"L40", Peak(181.05, 362, "NVIDIA L40 data sheet")),
    (r"L4", Peak(121, 242.5, "NVIDIA L4 data sheet")),
    (r"RTX A6000", Peak(154.8, None, "NVIDIA Ampere GA102 white paper")),
    (r"RTX 6000 Ada Generation", Peak(364.2, 728.5, _ADA)),
    (r"GeForce RTX 3090", Peak(71, None, "NVIDIA Ampere GA102 white paper, with sums in float32")),
    (r"GeForce RTX 4090", Peak(165.2, 330.3, f"{_ADA}, with sums in float32")),
    (r"GeForce RTX 5090", Peak(209.5, 419, "NVIDIA RTX Blackwell GPU architecture white paper, sums in float32")),
)
"""By what is left of the driver's name without the maker's: the whole of it, so that neither a slice of a GPU (MIG) nor
a laptop's model is taken for the card."""


def peak_of(name: str) -> Peak | None:
    """The peaks of a GPU with this name, such as `NVIDIA H100 80GB HBM3`; None for one that is not in the table."""
    short = re.sub(r"^(NVIDIA|Tesla)\s+", "", " ".join(name.split()), flags=re.IGNORECASE)
    for pattern, peak in _PEAKS:
        if re.fullmatch(pattern, short, re.IGNORECASE):
            return peak
    return None


def known() -> tuple[str, ...]:
    """The patterns of the names in the table."""
    return tuple(pattern for pattern, _ in _PEAKS)
