"""The two Dockerfiles, read by a parser, and what of this repository their builder gets to see."""

import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from docker.utils import exclude_paths
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "cluster" / "docker"
NAMES = ("cpu", "gpu")


@dataclass
class Step:
    """One instruction."""

    name: str
    value: str
    line: int

    @property
    def flags(self) -> dict[str, str]:
        """Its options, `--from=wheel` as `{"from": "wheel"}`."""
        words = self.value.split()
        found = [word for word in words[: next((i for i, w in enumerate(words) if not w.startswith("--")), 0)]]
        return dict(word[2:].split("=", 1) for word in found)

    @property
    def text(self) -> str:
        """Its value without options."""
        return re.sub(r"^(--\S+\s+)*", "", self.value)

    @property
    def commands(self) -> list[str]:
        """The commands of a RUN that one after another must succeed."""
        return [command.strip() for command in self.text.split("&&")]


@dataclass
class Stage:
    """One stage: what it starts from, its name, its steps."""

    base: str
    name: str
    steps: list[Step] = field(default_factory=list)

    def all(self, *names: str) -> list[Step]:
        return [step for step in self.steps if step.name in names]


def stages(kind: str) -> list[Stage]:
    """The stages of a Dockerfile, in order; `${BASE}` stays."""
    parser = DockerfileParser(fileobj=(FOLDER / f"{kind}.Dockerfile").open("rb"), env_replace=False)
    found: list[Stage] = []
    for part in parser.structure:
        name, value = part["instruction"], part["value"]
        if name == "FROM":
            base, _, stage = value.partition(" AS ")
            found.append(Stage(base, stage or "image"))
        elif name != "COMMENT" and found:
            found[-1].steps.append(Step(name, value, part["startline"] + 1))
    return found


def arguments(kind: str) -> dict[str, str]:
    """The build arguments that have a default."""
    text = (FOLDER / f"{kind}.Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^ARG (\w+)=(\S+)$", text))


def chain(kind: str) -> list[Stage]:
    """The stages that the image is made of, from its lowest layer to its highest."""
    by_name = {stage.name: stage for stage in stages(kind)}
    stage = by_name["image"]
    found = [stage]
    while stage.base in by_name:
        stage = by_name[stage.base]
        found.insert(0, stage)
    return found


def environment(kind: str, path: str = "/usr/local/bin:/usr/bin:/bin") -> dict[str, str]:
    """The variables that a process of the image finds."""
    found = {"PATH": path}
    for stage in chain(kind):
        for step in stage.all("ENV"):
            for word in shlex.split(step.value):
                name, _, value = word.partition("=")
                found[name] = re.sub(r"\$\{?(\w+)\}?", lambda match: found[match[1]], value)
    return found


def pip_lines(kind: str) -> list[str]:
    """Every `pip install` and `pip wheel` of a Dockerfile."""
    return [
        command
        for stage in stages(kind)
        for step in stage.all("RUN")
        for command in step.commands
        if re.match(r"(python -m )?pip[\d.]* ", command)
    ]


def context(root: Path = ROOT) -> set[str]:
    """The files below a folder that a builder gets, by its .dockerignore."""
    patterns = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    found = exclude_paths(str(root), [line for line in patterns if line and not line.startswith("#")])
    return {path for path in found if (root / path).is_file()}
