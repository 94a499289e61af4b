"""The dashboard: each line has a name, and minutes do not flatten what is counted."""

from typing import Any
from urllib.parse import unquote

from llmlab.aws import dashboard
from llmlab.contract import LogStream, Metric, Names

NAMES = Names("llm-tuning-lab", "123456789012", "us-east-1")


def graphs() -> dict[str, Any]:
    return {one["properties"]["title"]: one["properties"] for one in dashboard.body(NAMES)["widgets"] if one["type"] == "metric"}


def test_each_line_of_a_search_is_called_by_its_run() -> None:
    searches = [
        item for graph in graphs().values() for line in graph["metrics"] for item in line if isinstance(item, dict) and "expression" in item
    ]
    assert len(searches) == 6
    assert {one["label"] for one in searches} == {"${PROP('Dim.Run')}"}


def test_minutes_have_an_axis_of_their_own() -> None:
    graph = graphs()["Instances, and their age"]
    axes = {line[1]: line[2].get("yAxis", "left") for line in graph["metrics"]}
    assert axes == {Metric.ACTIVE_INSTANCES: "left", Metric.FAILED_RUNS: "left", Metric.RUN_AGE_MINUTES: "right"}
    assert (graph["yAxis"]["left"]["label"], graph["yAxis"]["right"]["label"]) == ("count", "minutes")


def test_it_leads_to_each_log() -> None:
    text = dashboard.body(NAMES)["widgets"][0]["properties"]["markdown"]
    for stream in LogStream:
        address = dashboard.logs_address(NAMES, stream)
        assert address in text
        assert unquote(unquote(address.rpartition("/")[2].replace("$", "%"))) == NAMES.log_group(stream)
