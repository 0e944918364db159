"""The alerts: accepted by Prometheus' own checker, raised when they should be and not otherwise, and each explained."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.monitoring_files import files

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "cluster" / "monitoring"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((FOLDER / "rules.yaml").read_text())["groups"] for rule in group["rules"]
]
TESTS = (FOLDER / "rules_test.yaml").read_text()
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian package prometheus)"
)


def promtool(*arguments: object) -> str:
    done = subprocess.run(["promtool", *map(str, arguments)], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_accepts_rules_and_configuration() -> None:
    assert f"{len(RULES)} rules found" in promtool("check", "rules", "rules.yaml")
    assert "SUCCESS" in promtool("check", "config", "prometheus.yaml")


@needs_promtool
def test_alerts_fire_when_they_should_and_not_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", "rules_test.yaml")


@needs_promtool
def test_an_alert_that_never_fires_is_noticed(tmp_path: Path) -> None:
    """With expressions that give nothing, the test of the rules misses every single alert."""
    rules = yaml.safe_load((FOLDER / "rules.yaml").read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["expr"] = f"({rule['expr']}) and on () (vector(1) > 2)"
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    (tmp_path / "rules_test.yaml").write_text(TESTS)
    command = ["promtool", "test", "rules", "rules_test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    missed = set(re.findall(r'alertname="(\w+)"', done.stdout + done.stderr))
    assert missed == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_alert_is_explained_and_tested(rule: dict[str, Any]) -> None:
    name, annotations = rule["alert"], rule["annotations"]
    assert set(annotations) == {"summary", "action", "runbook"}
    assert rule["labels"]["severity"] in ("info", "warning", "critical")
    assert annotations["runbook"] == f"docs/alerts.md#{name.lower()}"
    page = (ROOT / "docs" / "alerts.md").read_text()
    section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    assert all(word in section for word in ("**Means**", "**See**", "**Do**")), f"docs/alerts.md lacks {name}"
    fires = re.findall(rf'ALERTS{{alertname="{name}", alertstate="firing", ([^}}]*)}}', TESTS)
    assert fires, f"rules_test.yaml does not raise {name}"
    for label in re.findall(r"\$labels\.(\w+)", annotations["summary"]):
        assert all(f'{label}="' in labels for labels in fires), f"{name} has no label {label}"


def test_there_is_no_section_about_an_alert_that_is_gone() -> None:
    sections = re.findall(r"^## (\w+)$", (ROOT / "docs" / "alerts.md").read_text(), re.MULTILINE)
    assert sections == [rule["alert"] for rule in RULES]


def test_the_operators_files() -> None:
    rule = yaml.safe_load((FOLDER / "prometheusrule.yaml").read_text())
    assert rule["spec"] == yaml.safe_load((FOLDER / "rules.yaml").read_text())
    assert (FOLDER / "prometheusrule.yaml").read_text() == files()["prometheusrule.yaml"], "run `make docs`"
    monitor = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())
    assert (rule["kind"], monitor["kind"]) == ("PrometheusRule", "PodMonitor")
    for endpoint in monitor["spec"]["podMetricsEndpoints"]:  # rules.yaml asks for this job
        assert {"targetLabel": "job", "replacement": "ray"} in endpoint["relabelings"]
