"""cluster/slurm/fakescan.sbatch: what it asks SLURM for, and what it does, with stand-ins for SLURM's programs and Ray.

tests/drills/cluster_files/test_slurm.py runs it with the real `ray symmetric-run` on two nodes.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

SCRIPT = Path(__file__).parents[3] / "cluster" / "slurm" / "fakescan.sbatch"
SHELLCHECK = Path(sys.executable).with_name("shellcheck")

# One copy of the command for each node, at once, as SLURM starts them; each with a disk of its own.
SRUN = r"""
echo "$*" >> "$SEEN/srun"
nodes=1
while [[ $1 == --* ]]; do
    case $1 in
        --nodes=*) nodes=${1#*=} ;;
        --cpus-per-task=*) export SLURM_CPUS_PER_TASK=${1#*=} ;;
    esac
    shift
done
for ((node = 0; node < nodes; node++)); do
    mkdir -p "$FAKESCAN_NODE_TMP/$node"
    SLURM_NODEID=$node FAKESCAN_NODE_TMP=$FAKESCAN_NODE_TMP/$node "$@" & steps+=($!)
done
for step in "${steps[@]}"; do wait "$step" || status=$?; done
exit "${status:-0}"
"""
# `ray symmetric-run`: the command runs on the head alone, and a Ray that does not start is status 0 all the same.
RAY = r"""
printf '%s\n' "$@" > "$SEEN/ray-$SLURM_NODEID"
env > "$SEEN/environment-$SLURM_NODEID"
for word in "$@"; do [[ $word == --temp-dir=* ]] && folder=${word#*=}; done
mkdir -p "$folder/session_1/logs" && ln -s session_1 "$folder/session_latest"
[[ -n ${RAY_FAILS:-} || $SLURM_NODEID != 0 ]] && exit 0
while [[ $1 != -- ]]; do shift; done
shift
"$@"
"""
FAKESCAN = r"""
printf '%s\n' "$@" > "$SEEN/fakescan"
for ((waited = 0; waited < ${SECONDS_OF_SCAN:-0} * 50; waited++)); do [[ -e $SEEN/enough ]] && break; sleep 0.02; done
exit "${SCAN_STATUS:-0}"
"""
SCONTROL = r"""echo "$*" >> "$SEEN/scontrol" """
UNSHARE = r"""
[[ -n ${NO_NAMESPACES:-} ]] && exit 1
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""


class Slurm:
    """Runs the script as SLURM does; `seen` are the words that each stand-in got."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._seen = folder / "submitted", folder / "seen"
        programs, self.disk = folder / "bin", folder / "disk"
        for each in (self.folder, self._seen, programs, self.disk):
            each.mkdir()
        stand_ins = {"srun": SRUN, "ray": RAY, "fakescan": FAKESCAN, "scontrol": SCONTROL, "unshare": UNSHARE}
        for name, text in stand_ins.items():
            (programs / name).write_text("#!/bin/bash\n" + text)
            (programs / name).chmod(0o755)
        (programs / "python").symlink_to(sys.executable)
        self.environment = {
            "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin",
            "HOME": str(folder),
            "SEEN": str(self._seen),
            "FAKESCAN_NODE_TMP": str(self.disk),
            "FAKESCAN_HEAD_IP": "10.1.2.3",
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": "1",
            "SLURM_JOB_CPUS_PER_NODE": "64(x3),32",
            "SLURM_GPUS_ON_NODE": "8",
        }

    def start(self, *words: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", SCRIPT, *words], cwd=self.folder, env={**self.environment, **environment}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words, **environment)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def seen(self, name: str) -> list[str]:
        file = self._seen / name
        return file.read_text().splitlines() if file.exists() else []

    def environment_of(self, node: int) -> dict[str, str]:
        return dict(line.partition("=")[::2] for line in self.seen(f"environment-{node}"))

    def let_the_scan_end(self) -> None:
        (self._seen / "enough").touch()


@pytest.fixture
def slurm(tmp_path: Path) -> Slurm:
    return Slurm(tmp_path)


def shellcheck(text: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script"
    file.write_text(text)
    return subprocess.run([SHELLCHECK, "--severity=style", file], capture_output=True, text=True)


def test_shellcheck_has_nothing_to_say(tmp_path: Path) -> None:
    done = shellcheck(SCRIPT.read_text(), tmp_path)
    assert done.returncode == 0, done.stdout


MUTATIONS: dict[str, Callable[[str], str]] = {
    "a variable without quotes": lambda text: text.replace('"$status"', "$status", 1),
    "an if without its end": lambda text: text.replace("\n    fi\n", "\n", 1),
    "a name that nobody sets": lambda text: text.replace('"$outcome/status")', '"$outcmoe/status")'),
    "words as one": lambda text: text.replace('fakescan "$@"', 'fakescan "$*" $@'),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_shellcheck_finds_what_is_broken(mutation: str, tmp_path: Path) -> None:
    text = SCRIPT.read_text()
    broken = MUTATIONS[mutation](text)
    assert broken != text
    assert shellcheck(broken, tmp_path).returncode == 1


def test_it_asks_for_whole_nodes_one_ray_on_each_and_to_be_put_back_into_the_queue() -> None:
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(.+))?$", SCRIPT.read_text(), re.MULTILINE))
    assert asked["ntasks-per-node"] == "1"
    assert {"exclusive", "requeue"} <= set(asked)
    assert re.fullmatch(r"B:USR1@\d+", asked["signal"])
    assert asked["open-mode"] == "append", "the log of the first attempt stays"


def test_the_command_is_run_once_with_its_words_as_they_are(slurm: Slurm) -> None:
    words = ["scan", "s3://bucket/a b", "--output", "s3://bucket/audit", "--glob", "*.jpg", "--exclude", "it's $HOME"]
    done = slurm.run(*words, SLURM_JOB_NUM_NODES="3")
    assert done.returncode == 0, done.stderr
    assert slurm.seen("fakescan") == words
    for node in range(3):
        assert "--min-nodes=3" in slurm.seen(f"ray-{node}")
    assert slurm.seen("ray-3") == []
    assert "--cpus-per-task=32" in slurm.seen("srun")[0].split(), "as many as the smallest node has"


def test_ray_gets_what_the_job_has_of_each_node(slurm: Slurm) -> None:
    assert slurm.run("scan", "a", SLURM_MEM_PER_NODE="1000").returncode == 0
    given = slurm.seen("ray-0")
    assert given[0] == "symmetric-run"
    assert {"--num-gpus=8", "--num-cpus=32", "--address=10.1.2.3:28844"} <= set(given)
    assert {"--memory=629145600", "--object-store-memory=209715200"} <= set(given)
    assert f"--temp-dir={slurm.disk}/0/ray-4711" in given
    assert slurm.environment_of(0)["RAY_ADDRESS"] == "10.1.2.3:28844", "the scan joins this Ray and no other"
    assert slurm.run("scan", "a", SLURM_GPUS_ON_NODE="", SLURM_MEM_PER_NODE="0").returncode == 0
    assert "--num-gpus=0" in slurm.seen("ray-0")
    assert not [word for word in slurm.seen("ray-0") if "memory" in word], "0 stands for all of it"


def test_jobs_of_one_node_have_no_port_in_common(slurm: Slurm) -> None:
    ports = []
    for job in range(4710, 4713):
        assert slurm.run("scan", "a", SLURM_JOB_ID=str(job)).returncode == 0
        given = " ".join(slurm.seen("ray-0"))
        ports += re.findall(r"--address=[\d.]+:(\d+)|--(?:ray-client-server|dashboard)-port=(\d+)", given)
        assert "--min-worker-port=0 --max-worker-port=0 --dashboard-agent-listen-port=0" in given, "free ones"
    flat = [int(port) for pair in ports for port in pair if port]
    assert len(flat) == len(set(flat)) == 9
    assert all(1024 < port < 32768 for port in flat), "the kernel gives the others to whoever asks"


def test_each_job_has_a_token_of_its_own(slurm: Slurm) -> None:
    tokens = []
    for _ in range(2):
        assert slurm.run("scan", "a", SLURM_JOB_NUM_NODES="2").returncode == 0
        nodes = [slurm.environment_of(node) for node in range(2)]
        assert all(node["RAY_AUTH_MODE"] == "token" for node in nodes)
        assert nodes[0]["RAY_AUTH_TOKEN"] == nodes[1]["RAY_AUTH_TOKEN"]
        tokens.append(nodes[0]["RAY_AUTH_TOKEN"])
        assert not any(tokens[-1] in word for word in [*slurm.seen("ray-0"), *slurm.seen("srun")]), "others see those"
    assert tokens[0] != tokens[1]
    assert len(tokens[0]) >= 32


@pytest.mark.parametrize(
    ("known", "own", "address"),
    [
        ("10.9.9.9 STREAM node7", "10.8.8.8 10.7.7.7", "10.9.9.9"),
        ("127.0.1.1 STREAM node7", "10.8.8.8 10.7.7.7", "10.8.8.8"),  # as Debian has it of its own name
        ("", "10.8.8.8", "10.8.8.8"),
        ("", "", None),
    ],
)
def test_the_head_is_at_an_address_that_other_nodes_reach(
    slurm: Slurm, tmp_path: Path, known: str, own: str, address: str | None
) -> None:
    for name, said in (("getent", known), ("hostname", own)):
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\necho '{said}'\n[[ -n '{said}' ]]\n")
        (tmp_path / "bin" / name).chmod(0o755)
    done = slurm.run("scan", "a", FAKESCAN_HEAD_IP="", SLURMD_NODENAME="node7")
    if address:
        assert f"--address={address}:28844" in slurm.seen("ray-0")
    else:
        assert done.returncode == 2
        assert "error: the address of node7 is not known; set FAKESCAN_HEAD_IP" in done.stderr


@pytest.mark.parametrize("status", [1, 2, 130])
def test_the_job_ends_as_the_command_ends_and_keeps_rays_logs_of_a_failure(slurm: Slurm, status: int) -> None:
    done = slurm.run("scan", "a", SCAN_STATUS=str(status))
    assert done.returncode == status
    assert (slurm.folder / "ray-logs-4711.tgz").is_file()
    assert "ray-logs-4711.tgz" in done.stdout


def test_nothing_is_left_on_a_node(slurm: Slurm) -> None:
    left = slurm.disk / "0" / "ray-4711"
    left.mkdir(parents=True)
    (left / "of-an-attempt-before").touch()
    assert slurm.run("scan", "a").returncode == 0
    assert list((slurm.disk / "0").iterdir()) == []
    assert list(slurm.folder.iterdir()) == []


def test_a_ray_that_does_not_start_is_a_failure(slurm: Slurm) -> None:
    """`ray symmetric-run` itself ends with status 0."""
    done = slurm.run("scan", "a", RAY_FAILS="yes")
    assert done.returncode == 1
    assert "error: fakescan was not run: Ray did not start on all 1 nodes" in done.stderr


def test_before_the_time_limit_the_job_goes_back_into_the_queue(slurm: Slurm) -> None:
    process = slurm.start("scan", "a", SECONDS_OF_SCAN="30")
    deadline = time.monotonic() + 30
    while not slurm.seen("fakescan"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGUSR1)
    while slurm.seen("scontrol") != ["requeue 4711"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert process.poll() is None, "SLURM ends it"
    slurm.let_the_scan_end()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert "the job goes back into the queue" in out


def test_without_namespaces_it_says_what_to_keep(slurm: Slurm) -> None:
    done = slurm.run("scan", "a", NO_NAMESPACES="yes")
    assert done.returncode == 0
    assert "keep --exclusive" in done.stdout
    assert slurm.seen("fakescan") == ["scan", "a"]


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        ([], {}, "no command; for example: sbatch"),
        (["scan"], {"SLURM_JOB_ID": ""}, "submit this file: sbatch"),
        (["scan"], {"PATH": "/usr/bin:/bin"}, "no ray on PATH; activate the environment before sbatch"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    slurm: Slurm, words: list[str], environment: dict[str, str], said: str
) -> None:
    done = slurm.run(*words, **environment)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_the_programs_that_it_uses_are_there() -> None:
    """Beside SLURM's and Ray's own only such as every distribution has."""
    for name in ("getent", "awk", "mktemp", "tar", "unshare"):
        assert any(os.access(Path(folder) / name, os.X_OK) for folder in ("/usr/bin", "/bin")), name
