"""`holdfast ops` on the whole system, and where it finds the console and its key."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from flask import Flask

from holdfast_client.cli import ops as ops_module
from holdfast_client.cli import ops_status
from holdfast_client.cli.commands import holdfast
from holdfast_client.cli.ops import ops as group
from tests.audit.small_world import SmallWorld
from tests.console.acting.conftest import new_app
from tests.holdfast_client.cli.conftest import Command, Server

Beat = Callable[..., None]
Key = Callable[..., str]
Serve = Callable[[Flask], Server]
RUN = """
INSERT INTO audit_runs (at, took_ms, healthy, violations, rows_found, examples)
VALUES (now() - %(ago)s::interval, 12, %(found)s = 0, jsonb_build_object('stock', %(found)s, 'money', 0), %(found)s,
  CASE WHEN %(found)s > 0
    THEN '[{"rule": "stock", "subject": "product 0189", "text": "is below zero"}]'::jsonb ELSE '[]' END)
"""


def audited(world: SmallWorld, found: int = 0, ago: str = "1 min") -> None:
    world.sql(RUN, found=found, ago=ago)


# Status


def test_well_system_says_so(ops: Command, world: SmallWorld, beat: Beat, completed: str) -> None:
    beat()
    audited(world)
    told = ops("status", "--check", role="viewer")
    assert told.exit_code == 0, told.output
    assert told.stdout.startswith("All well.\n")
    for part in ("box", "listens", "orders 3/16", "In flight: nothing", "orders_service     healthy", ", healthy"):
        assert part in told.stdout


def test_status_as_json_has_the_problems(ops: Command, beat: Beat) -> None:
    beat()
    for output in ("json", "jsonl"):
        assert json.loads(ops("status", "-o", output).stdout)["problems"] == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"ago": "1 min"}, "orchestrator box:7 is silent since "),
        ({"ago": "1 min"}, "no orchestrator is alive: orders are accepted, and not processed"),
        ({"is_listening": False}, "orchestrator box:7 gets no notifications: orders wait for its next poll"),
        ({"breakers": ["payments"]}, "orchestrator box:7: circuit breaker for payments is open"),
    ],
)
def test_process_that_is_not_well_is_a_problem(
    ops: Command, beat: Beat, values: dict[str, object], problem: str
) -> None:
    beat(**values)
    told = ops("status", "--check")
    assert told.exit_code == 1
    assert f"! {problem}" in told.stdout
    assert problem in told.stderr


def test_order_that_nobody_takes_is_a_problem(ops: Command, world: SmallWorld, beat: Beat, waiting: str) -> None:
    beat()
    audited(world, found=2)
    world.sql("UPDATE order_ledger SET due_at = now() - interval '2 min', created_at = now() - interval '2 h'")
    told = ops("status").stdout
    assert "! nobody takes an order or a refund that is due since " in told
    assert "! 1 needs attention: holdfast ops attention" in told
    assert "! the last audit found 2 violations: holdfast ops audit" in told
    assert "! 1 order that has not ended holds 25.00 USD for more than an hour" in told
    assert "Money held: 25.00 USD" in told
    assert "In flight: 1 AUTHORIZED; 1 of them retrying" in told


def test_books_that_nobody_has_audited_are_a_notice(ops: Command, beat: Beat) -> None:
    beat()
    told = ops("status", "--check")
    assert told.exit_code == 0
    assert told.stdout.startswith("All well.\n- no audit has been recorded: nobody knows whether the books agree\n\n")


def test_service_that_is_still_being_asked_is_a_problem(
    ops: Command, beat: Beat, console_app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat()
    may_answer = threading.Event()
    monkeypatch.setattr(ops_status, "PAUSE_S", 0.01)
    monkeypatch.setattr("console.participants.health_at", lambda *_: may_answer.wait(30) and ("healthy", ""))
    told = ops("status", "--check")
    may_answer.set()
    assert told.exit_code == 1
    assert told.stdout.startswith("! nobody knows yet whether orders_service is healthy\n")
    assert "being asked" not in told.stdout


def test_silent_participant_is_a_problem(
    run: Command, serve: Serve, world: SmallWorld, url: str, key_of: Key, beat: Beat
) -> None:
    beat()
    audited(world)
    server = serve(new_app(url, PAYMENTS_SERVICE_URL="http://127.0.0.1:9"))
    told = run("ops", "--console-url", server.url, "--operator-key", key_of("viewer"), "status", "--check")
    assert told.exit_code == 1
    assert told.stdout.startswith("! payments_service is silent: no connection\n\n")


def test_watch_prints_lines(ops: Command, beat: Beat) -> None:
    beat()
    told = ops("watch", "--count", "2", "--every", "1")
    assert told.exit_code == 0
    assert [line.endswith("  all well") for line in told.stdout.splitlines()] == [True, True]
    (line,) = ops("watch", "--count", "1", "-o", "jsonl").stdout.splitlines()
    assert json.loads(line)["problems"] == []


def test_watch_goes_on_while_the_console_is_away(
    ops: Command, beat: Beat, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    beat()
    monkeypatch.setattr(ops_module, "time", SimpleNamespace(sleep=lambda _: server.stop()))
    told = ops("watch", "--count", "2")
    assert told.exit_code == 0
    assert len(told.stdout.splitlines()) == 1
    assert "The console gives no answer" in told.stderr


# Attention and the audit


def test_nothing_that_needs_attention_is_an_empty_array(ops: Command) -> None:
    told = {output: ops("attention", "-o", output) for output in ("json", "jsonl", "table")}
    assert [told[output].stdout for output in told] == ["[]\n", "", ""]
    assert told["table"].stderr == "Nothing needs attention.\n"
    assert {result.exit_code for result in told.values()} == {0}


def test_attention_lists_what_waits(ops: Command, waiting: str) -> None:
    told = ops("attention", role="viewer").stdout
    for part in (waiting, "no answer", "held", "25.00 USD"):
        assert part in told
    (entry,) = json.loads(ops("attention", "-o", "json").stdout)
    assert (entry["id"], entry["retry_count"]) == (waiting, 7)
    assert ops("dealt-with", waiting, "--reason", "known").exit_code == 0
    assert ops("attention", "-o", "json").stdout == "[]\n"
    hidden = "1 that somebody has dealt with is hidden: --all shows it.\n"
    assert ops("attention").stderr == f"Nothing needs attention.\n{hidden}"
    assert ops("attention", "--all").stderr == ops("attention", "-o", "json").stderr == ""
    assert "(dealt with by ada.operator: known)" in ops("attention", "--all").stdout


def test_audit_ends_as_it_found_the_books(ops: Command, world: SmallWorld) -> None:
    told = ops("audit")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "No audit has been recorded." in told.stderr
    assert json.loads(ops("audit", "-o", "json").stdout)["last"] is None
    audited(world, ago="2 h")
    told = ops("audit")
    assert told.exit_code == 0
    assert "Z, more than an hour ago: the books agree" in told.stdout
    audited(world, found=3)
    told = ops("audit")
    assert told.exit_code == 1
    assert "3 violations" in told.stdout
    assert "money" not in told.stdout  # only the rules that are broken
    assert "The books do not agree: 3 violations." in told.stderr
    assert "product 0189" in told.stdout
    assert "is below zero" in told.stdout


# The address and the key


def test_console_that_is_away_ends_with_3(run: Command) -> None:
    told = run("ops", "--console-url", "http://127.0.0.1:9", "--operator-key", "hfo_a_b", "status")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "No answer from http://127.0.0.1:9." in told.stderr


def test_another_server_ends_with_3(run: Command, serve: Serve, world: SmallWorld) -> None:
    told = run("ops", "--console-url", serve(world.edge).url, "--operator-key", "hfo_a_b", "status")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "is not the address of a console." in told.stderr


def test_key_that_is_not_known_is_refused(run: Command, server: Server, world: SmallWorld) -> None:
    told = run("ops", "--console-url", server.url, "--operator-key", "hfo_a_b", "status")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "HOLDFAST_OPERATOR_KEY" in told.stderr.splitlines()[-1]


def test_read_only_console_says_so(run: Command, serve: Serve, url: str, key_of: Key, waiting: str) -> None:
    server = serve(new_app(url, CONSOLE_READ_ONLY="on"))
    told = run("ops", "--console-url", server.url, "--operator-key", key_of("operator"), "note", waiting, "words")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "read_only" in told.stderr


def test_without_a_key_nothing_is_asked(run: Command) -> None:
    told = run("ops", "status")
    assert told.exit_code == 2
    assert "Set HOLDFAST_OPERATOR_KEY, or run: holdfast profiles set operator" in told.stderr


def test_key_of_make_run_is_found_in_its_folder(run: Command, server: Server, folder: Path, key_of: Key) -> None:
    (folder / "var").mkdir()
    names = f"HOLDFAST_CONSOLE_URL={server.url}\nHOLDFAST_OPERATOR_KEY='{key_of('viewer')}'\nHOLDFAST_API_KEY=hf_a_b\n"
    (folder / "var" / "credentials.env").write_text(names)
    assert run("ops", "attention").exit_code == 0
    told = run("ops", "attention", env={"HOLDFAST_OPERATOR_KEY": "hfo_a_b", "HOLDFAST_CONSOLE_URL": server.url})
    assert told.exit_code == 1  # the environment comes first
    told = run("ops", "attention", env={"HOLDFAST_CONSOLE_URL": server.url})
    assert told.exit_code == 2  # and is not mixed with the file
    assert "HOLDFAST_CONSOLE_URL is given, but no operator key for it." in told.stderr


def test_profile_operator_is_used_last(run: Command, server: Server, key_of: Key) -> None:
    viewer, operator = key_of("viewer"), key_of("operator")
    for name, key in (("operator", operator), ("night", viewer)):
        assert run("profiles", "set", name, "--url", server.url, "--api-key", key).exit_code == 0
    assert run("ops", "attention").exit_code == 0
    assert run("ops", "--profile", "night", "attention").exit_code == 0
    listed = run("profiles", "list", "-o", "json").stdout
    assert operator.rpartition("_")[2] not in listed
    assert json.loads(listed)[0]["api_key"] == f"{operator.rpartition('_')[0]}_…"


def test_secret_of_a_key_of_another_form_is_not_listed(run: Command) -> None:
    assert run("profiles", "set", "odd", "--url", "http://h", "--api-key", "s3cret").exit_code == 0
    assert "s3cret" not in run("profiles", "list").stdout


@pytest.mark.parametrize("words", [("--url", "http://h", "--api-key", "hf_a_b"), ("--profile", "live")])
def test_address_of_the_edge_is_not_taken_for_the_console(run: Command, words: tuple[str, ...]) -> None:
    told = run(*words, "ops", "status")
    assert told.exit_code == 2
    assert "holdfast ops --profile" in told.stderr


# Help and completion


def completed_words(line: str, world: SmallWorld | None = None) -> set[str]:
    words = line.split(" ")
    environ = {"_HOLDFAST_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    told = CliRunner().invoke(holdfast, prog_name="holdfast", env=environ)
    return {each.partition(",")[2] for each in told.stdout.splitlines()}


def test_commands_and_their_words_are_completed() -> None:
    assert completed_words("holdfast ops ") == set(group.commands)
    assert {"--reason", "--yes", "--note"} <= completed_words("holdfast ops cancel x --")
    assert "out_of_stock" in completed_words("holdfast ops cancel x --reason ")
    assert completed_words("holdfast ops orders ") == {"retry", "cancel"}
    assert "needs_attention=" in completed_words("holdfast ops orders --query ")
    assert completed_words("holdfast ops --") == {"--console-url", "--operator-key", "--profile", "--help"}


@pytest.mark.parametrize("name", sorted(group.commands))
def test_each_command_has_help(run: Command, name: str) -> None:
    told = run("ops", name, "--help")
    assert told.exit_code == 0
    assert "Usage: " in told.stdout


def test_help_leads_to_where_the_operator_key_comes_from(run: Command) -> None:
    assert "see holdfast ops --help" in run("--help").stdout
    told = " ".join(run("ops", "--help").stdout.split())
    assert "HOLDFAST_CONSOLE_URL and HOLDFAST_OPERATOR_KEY, var/credentials.env, and the profile named operator" in told
