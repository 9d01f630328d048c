"""The dashboard and the alert rules ask for metrics and labels that the controller has, in valid PromQL."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from charts import ROOT
from controllers import PlayedWorker, RunningController
from prometheus_client.parser import text_string_to_metric_families

from paploss.client.specs import SearchSpec

FOLDER = ROOT / "helm" / "monitoring"
TESTS = ROOT / "deploy" / "monitoring" / "alerts_test.yaml"
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
EXPRESSIONS = {
    f"panel {panel['title']} {target['refId']}": target["expr"]
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
} | {f"alert {rule['alert']}": rule["expr"] for rule in RULES}


@pytest.fixture
def metrics(sqlite_url: str, redis_url: str, tmp_path: Path) -> dict[str, set[str]]:
    """The labels of every metric, of a controller that has a bit of everything."""
    with (
        RunningController(sqlite_url, redis_url, tmp_path) as controller,
        controller.client() as client,
        controller.http("worker") as worker_http,
        controller.http("viewer") as viewer,
    ):
        experiment_id = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2)).id
        while not (queued := list(client.trials(experiment_id, state="queued"))):
            pass
        PlayedWorker(worker_http).run(queued[0].id)
        text = viewer.get("/metrics").text
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def walk(part: Any) -> Iterator[Any]:
    """An expression and all that it is made of."""
    yield part
    for name in ("lhs", "rhs", "expr", "args", "vector_selector", "param"):
        inner = getattr(part, name, None)
        for one in inner if isinstance(inner, list) else [inner]:
            if one is not None:
                yield from walk(one)


def test_every_expression_asks_for_what_there_is(metrics: dict[str, set[str]]) -> None:
    for place, expression in EXPRESSIONS.items():
        parts = list(walk(promql_parser.parse(expression)))
        selectors = [part for part in parts if isinstance(part, promql_parser.VectorSelector)]
        assert selectors, place
        for selector in selectors:
            assert selector.name in metrics, f"{place}: {selector.name}"
            asked = {matcher.name for matcher in selector.matchers.matchers}
            assert asked <= metrics[selector.name], f"{place}: {selector}"
        known = {"instance"}.union(*(metrics[selector.name] for selector in selectors))
        for part in parts:
            if isinstance(part, promql_parser.AggregateExpr) and part.modifier is not None:
                assert set(part.modifier.labels) <= known, f"{place}: {part}"


def test_every_metric_of_ours_is_on_the_dashboard(metrics: dict[str, set[str]]) -> None:
    shown = " ".join(EXPRESSIONS.values())
    ours = {name for name in metrics if name.startswith("paploss_") and not name.endswith(("_sum", "_count", "_info"))}
    assert {name for name in ours if name not in shown} == set()


def test_legends_name_labels_that_the_expression_keeps() -> None:
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            for label in target["legendFormat"].split("{{")[1:]:
                name = label.partition("}}")[0]
                assert name == "instance" or f"{name}" in target["expr"], panel["title"]


def test_panels_have_distinct_numbers_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_every_alert_says_what_is_wrong_and_what_to_look_at() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_alerts_fire_when_they_should() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (it comes with Prometheus)")
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", str(TESTS)]):
        done = subprocess.run([promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
