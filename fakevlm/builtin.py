"""The trained small checkpoint that ships with this package and judges where no model is named."""

from pathlib import Path

BUILT_IN = Path(__file__).with_name("assets") / "small"
"""Its folder."""
BUILT_IN_NAME = "builtin-small"
"""Its name in results."""
