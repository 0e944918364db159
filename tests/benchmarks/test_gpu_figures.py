"""The arithmetic of the GPU bench: peaks, the work of an image, windows to rows, score differences, reasons."""

import math
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest
from tokenizers import Tokenizer

from benchmarks.gpu_bench.children import reason
from benchmarks.gpu_bench.figures import Answers, differences, spread
from benchmarks.gpu_bench.flops import Work, counted, share_of_peak, work_of
from benchmarks.gpu_bench.gpu_watch import Look, Nvml, use_in
from benchmarks.gpu_bench.peaks import known, peak_of
from benchmarks.gpu_bench.real_sizes import answers
from benchmarks.gpu_bench.rows import row_of
from benchmarks.gpu_bench.scan import windows_of
from benchmarks.gpu_bench.steps import StepLogger, StepStats, counted_since, read_counters
from fakescan.run.counts import Counts
from fakescan.scan.tables import PartSummary
from fakevlm.builtin import BUILT_IN
from fakevlm.checkpoint.checkpoint import open_checkpoint
from fakevlm.verdict import Calibration
from tools.real_size_checkpoint import REAL, followers, own_vocabulary
from tools.small_checkpoint import tokenizer
from tools.small_checkpoint.llava_files import model_config

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("name", "bits16", "fp8"),
    [
        ("NVIDIA H100 80GB HBM3", 989.4, 1978.9),
        ("NVIDIA H100 PCIe", 756.4, 1512.9),
        ("NVIDIA H100 NVL", 835.5, 1671),
        ("NVIDIA H200", 989.4, 1978.9),
        ("NVIDIA GH200 480GB", 989.4, 1978.9),
        ("NVIDIA B200", 2250, 4500),
        ("NVIDIA A100-SXM4-80GB", 312, None),
        ("NVIDIA A100-PCIE-40GB", 312, None),
        ("NVIDIA A100 80GB PCIe", 312, None),
        ("NVIDIA L40S", 362.05, 733),
        ("NVIDIA L4", 121, 242.5),
        ("NVIDIA A10G", 70, None),
        ("NVIDIA GeForce RTX 4090", 165.2, 330.3),
    ],
)
def test_peaks_are_dense_and_of_the_whole_name(name: str, bits16: float, fp8: float | None) -> None:
    peak = peak_of(name)
    assert peak is not None
    assert (peak.bits16, peak.fp8) == (bits16, fp8)
    assert peak.source


@pytest.mark.parametrize(
    "name",
    [
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA GeForce RTX 4090 D",
        "",
        "Fake",
    ],
)
def test_slices_laptops_and_strangers_have_no_peak(name: str) -> None:
    assert peak_of(name) is None


def test_no_two_entries_claim_a_name() -> None:
    assert len(set(known())) == len(known())


def test_work_of_the_real_sizes_is_counted_layer_by_layer() -> None:
    """2 x weights x tokens, as far as it goes; attention, tower and head are the rest."""
    work = counted(model_config(REAL, "float16"), prompt_tokens=592, image_tokens=576)
    matrices = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert 1.0 < work.image / (2 * 592 * matrices) < 1.12
    assert 8.0e12 < work.image < 8.8e12
    assert work.token == pytest.approx(2 * (matrices + 32064 * 4096), rel=0.03)


def test_roofline_of_llava_7b_is_the_round_figure_and_of_others_what_is_counted() -> None:
    used, found = work_of(open_checkpoint(str(BUILT_IN)))
    assert used == found


def test_share_of_peak() -> None:
    work = Work(8.8e12, 13e9)
    assert share_of_peak(60, 1, work, 989.4) == pytest.approx(60 * 8.8 / 989.4)
    assert share_of_peak(60, 101, work, 989.4) == pytest.approx(60 * (8.8 + 1.3) / 989.4)


def test_spread_is_median_and_range() -> None:
    assert spread([3.0, 1.0, 2.0, float("nan")]) == spread([1.0, 2.0, 3.0])
    found = spread([3.0, 1.0, 2.0])
    assert found is not None
    assert (found.median, found.low, found.high, found.count) == (2.0, 1.0, 3.0, 3)
    assert spread([]) is None


def log_probabilities(logits: list[float]) -> Answers:
    """Two words that share all of the probability."""
    return Answers(
        tuple(-math.log1p(math.exp(-logit)) for logit in logits),
        tuple(-math.log1p(math.exp(logit)) for logit in logits),
    )


def test_differences_count_flips_and_compare_what_both_have_judged() -> None:
    ours, base = log_probabilities([2.0, -0.1, 0.5, -3.0]), log_probabilities([2.0, 0.1, 0.4])
    found = differences(ours, base, [True, False, True, False], Calibration())
    assert found is not None
    assert (found.images, found.flips) == (3, 1)
    assert found.logit_largest == pytest.approx(0.2)
    assert found.score_largest == pytest.approx(1 / (1 + math.exp(-0.1)) - 1 / (1 + math.exp(0.1)))
    assert (found.auroc, found.auroc_base) == (1.0, 1.0)


def test_differences_leave_out_what_was_not_judged() -> None:
    nan = float("nan")
    ours = Answers((nan, -0.1), (nan, -2.4))
    found = differences(ours, log_probabilities([1.0, 2.3]), [False, True], Calibration())
    assert found is not None
    assert (found.images, found.auroc) == (1, None)
    assert differences(Answers((), ()), log_probabilities([1.0]), [True], Calibration()) is None


def window(began: float, images: int, **more: Any) -> dict[str, Any]:
    return {"began": began, "ended": began + 10, "images": images, "cores": 2.0, "steps": {}, **more}


def test_row_has_medians_of_rates_and_means_over_steps() -> None:
    steps = {"steps": 10, "running": 200, "tokens": 10_000, "kv_cache": 5.0, "waiting": 0, "preempted": 0}
    windows = [
        window(100, 600, tokens=600, steps=steps),
        window(110, 640, tokens=640, steps={**steps, "running": 400}),
        window(120, 610, tokens=610, steps=steps),
    ]
    looks = [Look(at=at, busy=busy, memory=70) for at, busy in ((50.0, 0.0), (105.0, 0.9), (115.0, 1.0), (500.0, 0.0))]
    row = row_of(
        "engine", "score", windows,
        looks=looks, work=Work(8.8e12, 1e10), peak_tflops=989.4, simulated=False, max_num_seqs=1024,
    )  # fmt: skip
    assert row.images_s is not None
    assert (row.images_s.median, row.images_s.low, row.images_s.high) == (61.0, 60.0, 64.0)
    assert row.share_of_peak == pytest.approx(61 * 8.8 / 989.4)
    assert row.running == pytest.approx(800 / 30)
    assert row.tokens_per_step == 1000
    assert row.kv_cache == 0.5
    assert row.gpu is not None
    assert row.gpu.busy == pytest.approx(0.95)


def test_row_without_peak_or_looks_says_nothing_of_them() -> None:
    row = row_of("loop", "score", [window(0, 10)], looks=[], work=None, peak_tflops=None, simulated=False)
    assert (row.share_of_peak, row.gpu, row.running) == (None, None, None)


def test_gpu_is_slowed_where_a_tenth_of_the_looks_say_so() -> None:
    looks = [Look(at=float(at), slowed_by=("power cap",) if at < 2 else ()) for at in range(10)]
    assert (use := use_in(looks, [(0, 10)])) is not None
    assert use.slowed_by == ("power cap",)
    assert (use := use_in(looks, [(1.5, 10)])) is not None
    assert use.slowed_by == ()


class DriverError(Exception):
    """NVML's."""


class Driver:
    """As much of pynvml as is asked, of a GPU that does not tell its power."""

    NVMLError = DriverError
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0

    def __getattr__(self, question: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetName": "NVIDIA H200",
            "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=150 * 10**9, used=70 * 10**9),
            "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=97),
            "nvmlSystemGetCudaDriverVersion": 13000,
            "nvmlSystemGetDriverVersion": b"580.65.06",
            "nvmlDeviceGetClockInfo": 1755,
            "nvmlDeviceGetCurrentClocksThrottleReasons": 0x24,
        }

        def ask(*_: Any) -> Any:
            if question not in answers:
                raise DriverError(question)
            return answers[question]

        return ask


def test_gpu_that_does_not_tell_everything() -> None:
    nvml = Nvml(cast(ModuleType, Driver()), None)
    gpu, look = nvml.gpu(), nvml.look()
    assert (gpu.name, gpu.memory, gpu.driver, gpu.cuda) == ("NVIDIA H200", 150 * 10**9, "580.65.06", "13.0")
    assert (gpu.power_limit_w, look.power_w, look.heat_c) == (None, None, None)
    assert (look.busy, look.memory, look.clock_mhz) == (0.97, 70 * 10**9, 1755)
    assert look.slowed_by == ("power cap", "heat (software)")


def test_scan_windows_cut_the_steady_state_and_count_what_came_in_them() -> None:
    parts = [
        PartSummary(
            shard=shard, counts=Counts(rows=64), fetch_cpu_s=0.1, decode_cpu_s=0.5, written_at=100.0 + shard,
            engine={"id": "a", "max_num_seqs": 32, "steps": 10 * shard, "running": 300 * shard},
        )
        for shard in range(25)
    ]  # fmt: skip
    done = {part.shard: part.written_at - 5 for part in parts}
    windows, _ = windows_of(parts, [2.0 * shard for shard in range(25)], done, done, 3)
    assert len(windows) == 3
    assert [one["images"] / (one["ended"] - one["began"]) for one in windows] == [64.0] * 3
    assert [one["cores"] for one in windows] == [2.0] * 3
    assert all(one["steps"]["running"] / one["steps"]["steps"] == 30 for one in windows)


def test_scan_of_one_part_has_no_windows() -> None:
    part = PartSummary(shard=0, counts=Counts(rows=4), written_at=1.0, engine={})
    assert windows_of([part], [1.0], {0: 0.0}, {0: 0.0}, 3) == ([], False)


def test_steps_are_counted_by_the_requests_that_wrote_a_token() -> None:
    class Iteration:
        num_generation_tokens, num_prompt_tokens, num_preempted_reqs = 5, 100, 1

    class Scheduler:
        num_waiting_reqs, kv_cache_usage = 3, 0.5

    stats = StepStats()
    before = read_counters(stats)
    logger = StepLogger(stats)
    logger.record(Scheduler(), Iteration(), mm_cache_stats=None, engine_idx=0)
    logger.record(Scheduler(), None, mm_cache_stats=None, engine_idx=0)
    stats.count(7, 7, 0.5)
    found = counted_since(before, read_counters(stats))
    assert (found["steps"], found["running"], found["tokens"], found["waiting"]) == (1, 5, 105, 3)
    assert (found["kv_cache"], found["preempted"], found["busy_s"]) == (0.5, 1, 0.5)


@pytest.mark.parametrize(
    ("error", "log", "said"),
    [
        ("ValueError: no FP8 here", "", "ValueError: no FP8 here"),
        (
            "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
            "(EngineCore pid=7) ERROR 11-26 [core.py:9] ValueError: The quantization method fp8 needs capability 75.\n"
            "RuntimeError: Engine core initialization failed. See root cause above.\n",
            "ValueError: The quantization method fp8 needs capability 75.",
        ),
        (None, "torch.OutOfMemoryError: CUDA out of memory.\n", "torch.OutOfMemoryError: CUDA out of memory."),
        (None, "Killed\n", "its process ended with status -9"),
    ],
)
def test_reason_is_the_cause_in_one_line(error: str | None, log: str, said: str) -> None:
    assert reason(error, log, -9) == said


def test_answers_of_the_made_checkpoint_are_as_long_as_explanations_are(tmp_path: Path) -> None:
    """Every word is one token, and each is followed by one other: `followers` would refuse anything else."""
    tokenizer.write_files(tmp_path, *own_vocabulary(REAL, answers()), legacy=True)
    found = followers(tmp_path, answers())
    tokens = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert tokens.get_vocab_size() == REAL.text_tokens + 2
    assert 85 <= len(tokens.encode(answers()[0], add_special_tokens=False).ids) <= 110
    assert max(map(len, found.values())) == 2  # the words after `a`, which both go on with the same
