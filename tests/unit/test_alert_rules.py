"""The alert rules name metrics that exist, and runbooks that exist and show commands that exist."""

import re
from collections.abc import Iterator
from typing import Any

import click
import pytest
import yaml
from prometheus_client import CollectorRegistry

from bems_streams import metrics
from bems_streams.cli.main import main
from tests.support import REPOSITORY

RULES = REPOSITORY / "deploy" / "prometheus" / "bems.rules.yaml"
RUNBOOKS = sorted((REPOSITORY / "docs" / "runbooks").glob("*.md"))
METRIC = re.compile(r"\bbems_[a-z_]+")
COMMAND = re.compile(r"^bems ([a-z]+)(?: ([a-z]+))?(.*)$", re.MULTILINE)


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def exposed() -> set[str]:
    """Every sample name that a process of any role can expose, with and without the endings of its type."""
    registry = CollectorRegistry()
    metrics.GatewayMetrics(registry)
    metrics.AgentMetrics(registry, "sink")
    metrics.TableMetrics(registry)
    metrics.ConsoleMetrics(registry)
    metrics.LedgerMetrics(registry)
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + ending for family in registry.collect() for ending in endings[family.type]}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_has_what_the_one_on_call_needs(rule: dict[str, Any]) -> None:
    """A metric that somebody exposes, a sentence, a severity, and a page that says what to do."""
    named = set(METRIC.findall(rule["expr"]))

    assert named
    assert named <= exposed()
    assert rule["annotations"]["summary"]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert (REPOSITORY / rule["annotations"]["runbook"]) in RUNBOOKS


def test_every_runbook_belongs_to_an_alert_that_it_names() -> None:
    """Somebody who comes by the alert's name finds it."""
    for page in RUNBOOKS:
        path = str(page.relative_to(REPOSITORY))
        alerts = {rule["alert"] for rule in rules() if rule["annotations"]["runbook"] == path}

        assert alerts
        assert set(re.findall(r"`(Bems[A-Za-z]+)`", page.read_text(encoding="utf-8"))) >= alerts


def commands(page: str) -> Iterator[tuple[str, list[str]]]:
    """Every `bems` command in shell blocks: its path, and the options it is given."""
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for name, sub, rest in COMMAND.findall(block):
            yield f"{name} {sub}".strip(), re.findall(r"--[a-z-]+", rest)


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
def test_commands_in_runbooks_exist_with_their_options(page: Any) -> None:
    """At three in the morning nobody wants to guess what an option is called now."""
    shown = list(commands(page.read_text(encoding="utf-8")))

    assert shown
    for path, options in shown:
        command: click.Command = main
        for name in path.split():
            if isinstance(command, click.Group):
                found = command.get_command(click.Context(command), name)
                assert found is not None, f"{page.name}: bems {path}"
                command = found
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(options) <= known, f"{page.name}: bems {path}"
