"""`holdfast keys` on the whole system: what it makes, prints and ends, and who may use it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from common.credentials import client_keys
from holdfast_client.cli.keys import SCOPES
from holdfast_client.cli.keys import keys as group
from tests.audit.small_world import SmallWorld
from tests.console.acting.conftest import new_app
from tests.holdfast_client.cli.conftest import Command, Server

STORE_IT = "Store the key now: it is shown only once.\n"
ROWS = "SELECT id, scopes, expires_at, revoked_at FROM client_keys WHERE client = 'till' ORDER BY created_at"
RECORD = "SELECT actor, action FROM operator_log WHERE details->>'key' = %(id)s ORDER BY at, id"
UNKNOWN = "0123456789abcdef"
EVERY = [("create", "till"), ("list",), ("rotate", "ID"), ("revoke", "ID", "--yes"), ("revoke", "ID")]


@pytest.fixture
def keys(at_console: Command) -> Command:
    """`keys("list", role="viewer")`: `holdfast keys list` with an operator's key of this role."""
    return lambda *words, role="admin", **options: at_console("keys", *words, role=role, **options)


@pytest.fixture
def made(keys: Command) -> str:
    """The text of a key of the client `till`."""
    return str(keys("create", "till").stdout.strip())


def id_of(text: str) -> str:
    return (client_keys.parts(text) or ("",))[0]


def words_for(words: tuple[str, ...], id_: str) -> list[str]:
    return [id_ if word == "ID" else word for word in words]


def edge_status(world: SmallWorld, text: str, method: str = "GET") -> int:
    """What the Edge API answers to a call with this key that reads orders, or would make a product."""
    headers = {"Authorization": f"Bearer {text}"}
    path = "/orders" if method == "GET" else "/products"
    return world.edge.test_client().open(path, method=method, headers=headers, json={}).status_code


@pytest.fixture
def lose_first_answer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """`lose_first_answer()`: the next POST reaches the console, and its answer does not come back."""

    def lose() -> None:
        send, lost = requests.Session.request, []

        def request(session: requests.Session, method: str, url: str, **options: Any) -> requests.Response:
            answer = send(session, method, url, **options)
            if method == "POST" and not lost:
                lost.append(answer)
                raise requests.ConnectionError
            return answer

        monkeypatch.setattr(requests.Session, "request", request)

    return lose


# What is made


def test_made_key_is_alone_on_stdout_and_works(keys: Command, world: SmallWorld) -> None:
    told = keys("create", "till")
    assert told.exit_code == 0, told.output
    assert told.stderr == STORE_IT
    assert told.stdout.endswith("\n")
    text = told.stdout.removesuffix("\n")
    assert client_keys.KEY.fullmatch(text)
    assert world.sql(ROWS) == [(id_of(text), list(client_keys.SCOPES), None, None)]
    assert edge_status(world, text) == 200
    assert world.sql(RECORD, id=id_of(text)) == [("ada.admin", "keys.create")]


def test_all_scopes_are_those_of_the_edge() -> None:
    assert SCOPES == client_keys.SCOPES


def test_key_has_the_scopes_and_the_end_that_are_stated(keys: Command, world: SmallWorld) -> None:
    scopes = ("--scope", "orders:write", "--scope", "orders:read", "--scope", "orders:write")
    text = keys("create", "till", *scopes, "--expires", "2100-01-31T02:00:00+02:00").stdout.strip()
    ((_, given, expires_at, _),) = world.sql(ROWS)
    assert given == ["orders:read", "orders:write"]
    assert expires_at.isoformat() == "2100-01-31T00:00:00+00:00"
    assert (edge_status(world, text), edge_status(world, text, "POST")) == (200, 403)


@pytest.mark.parametrize("output", ["json", "jsonl"])
def test_made_key_as_json_has_its_id_and_text(keys: Command, output: str) -> None:
    told = keys("create", "till", "-o", output)
    made = json.loads(told.stdout)
    assert made == {"id": id_of(made["text"]), "text": made["text"]}
    assert made["id"]
    assert told.stderr == STORE_IT


@pytest.mark.parametrize("output", ["table", "json"])
def test_repeat_with_the_same_idempotency_key_explains_that_the_text_is_gone(
    keys: Command, world: SmallWorld, output: str
) -> None:
    words = ("create", "till", "--idempotency-key", "k", "-o", output)
    keys(*words)
    told = keys(*words)
    ((id_, *_),) = world.sql(ROWS)
    assert told.exit_code == 1
    assert json.loads(told.stdout or "null") == (None if output == "table" else {"id": id_, "text": None})
    assert told.stderr == (
        f"Error: The key {id_} was made before, with the same idempotency key. Its text was in the first answer only.\n"
        f"If that answer is lost: holdfast keys revoke {id_}, and create another one.\n"
    )
    told = keys(*words, "--scope", "orders:read")
    assert told.exit_code == 1
    assert "idempotency_key_reused" in told.stderr


def test_lost_answer_and_its_repeat_make_one_key(
    at_console: Command, world: SmallWorld, lose_first_answer: Callable[[], None]
) -> None:
    lose_first_answer()
    told = at_console("--retry-for", "10", "keys", "create", "till", role="admin")
    ((id_, *_),) = world.sql(ROWS)
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"holdfast keys revoke {id_}, and create another one." in told.stderr


def test_lost_answer_without_a_repeat_says_how_to_repeat_it(
    keys: Command, world: SmallWorld, lose_first_answer: Callable[[], None]
) -> None:
    lose_first_answer()
    told = keys("create", "till")
    assert (told.exit_code, told.stdout) == (3, "")
    (key,) = re.findall("--idempotency-key (.+)", told.stderr)
    assert "Its text was in the first answer only." in keys("create", "till", "--idempotency-key", key).stderr
    assert len(world.sql(ROWS)) == 1


# The list


def test_list_shows_valid_keys_without_their_secrets(keys: Command, made: str) -> None:
    ended = keys("create", "till", "--scope", "orders:read").stdout.strip()
    keys("revoke", id_of(ended), "--yes")
    told = keys("list")
    assert told.exit_code == 0, told.output
    assert told.stdout.split("\n")[0].split()[:4] == ["ID", "CLIENT", "STATE", "SCOPES"]
    (line,) = [line.split() for line in told.stdout.splitlines() if "till" in line]
    assert line[:4] == [id_of(made), "till", "valid", "all"]
    assert made.rpartition("_")[2] not in told.stdout
    (line,) = [line.split() for line in keys("list", "--all").stdout.splitlines() if id_of(ended) in line]
    assert line[1:4] == ["till", "revoked", "orders:read"]


def test_list_as_json_is_what_the_console_answers(keys: Command, made: str) -> None:
    found = {key["id"]: key for key in json.loads(keys("list", "-o", "json").stdout)}
    assert found[id_of(made)]["scopes"] == list(SCOPES)
    assert found[id_of(made)]["expires_at"] is None
    lines = keys("list", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line) for line in lines] == list(found.values())


def test_list_has_all_pages(keys: Command, world: SmallWorld) -> None:
    world.sql(
        "INSERT INTO client_keys (id, client, secret_sha256, scopes)"
        " SELECT 'k' || n, 'till', sha256(n::text::bytea), '{orders:read}' FROM generate_series(1, 130) AS n"
    )
    assert sum(key["client"] == "till" for key in json.loads(keys("list", "-o", "json").stdout)) == 130


def test_empty_list_says_how_a_key_is_made(keys: Command, world: SmallWorld) -> None:
    world.sql("UPDATE client_keys SET revoked_at = now()")
    told = keys("list")
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr.startswith("No key is valid. --all shows those that are revoked or expired.")
    assert keys("list", "-o", "json").stdout == "[]\n"
    world.sql("DELETE FROM client_keys")
    assert keys("list", "--all").stderr == "There is no key. `holdfast keys create CLIENT` makes one.\n"


# Rotation


def test_rotated_key_and_its_successor_both_work(keys: Command, world: SmallWorld, made: str) -> None:
    told = keys("rotate", id_of(made), "--expires", "2100-01-31T00:00:00Z")
    assert told.exit_code == 0, told.output
    text = told.stdout.removesuffix("\n")
    assert client_keys.KEY.fullmatch(text)
    assert told.stderr.startswith(STORE_IT)
    assert f"Both keys work for 24 hours. {id_of(made)} ends then" in told.stderr
    assert (edge_status(world, made), edge_status(world, text)) == (200, 200)
    former, new = world.sql(ROWS)
    assert (former[1], new[0]) == (new[1], id_of(text))
    assert new[2].isoformat() == "2100-01-31T00:00:00+00:00"
    assert world.sql(
        "SELECT expires_at - now() BETWEEN '23 h' AND '24 h' FROM client_keys WHERE id = %(id)s", id=former[0]
    ) == [(True,)]


def test_repeated_rotation_leads_to_the_successor(keys: Command, world: SmallWorld, made: str) -> None:
    words = ("rotate", id_of(made), "--idempotency-key", "k")
    successor = id_of(keys(*words).stdout.strip())
    told = keys(*words)
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"If that answer is lost: holdfast keys rotate {successor}\n" in told.stderr
    assert len(world.sql(ROWS)) == 2
    told = keys("rotate", id_of(made))  # not the same call
    assert (told.exit_code, told.stdout) == (1, "")
    assert "rotate its successor instead" in told.stderr
    assert keys("rotate", successor).exit_code == 0


# Revocation


def test_revoke_names_the_client_and_asks(keys: Command, world: SmallWorld, made: str) -> None:
    asked = f"Revoke key {id_of(made)} of till (never used)?"
    for answer in ("n\n", ""):
        told = keys("revoke", id_of(made), input=answer)
        assert (told.exit_code, told.stdout) == (1, "")
        assert asked in told.stderr
    ((*_, revoked_at),) = world.sql(ROWS)
    assert revoked_at is None
    world.sql("UPDATE client_keys SET last_used_at = '2026-01-31T12:00:00Z' WHERE client = 'till'")
    told = keys("revoke", id_of(made), input="y\n")
    assert told.exit_code == 0
    assert "(last used at 2026-01-31 12:00:00Z)?" in told.stderr
    assert told.stdout == f"{id_of(made)} is revoked. It stops working within a minute.\n"
    ((*_, revoked_at),) = world.sql(ROWS)
    assert revoked_at is not None
    assert edge_status(world, made) == 401  # no process has remembered it


def test_revoke_is_done_once_for_its_idempotency_key(keys: Command, world: SmallWorld, made: str) -> None:
    words = ("revoke", id_of(made), "--idempotency-key", "k", "-o", "json")
    told = [keys(*words, "--yes"), keys(*words)]  # the second one has nothing to ask
    assert [json.loads(each.stdout) for each in told] == [{"id": id_of(made), "revoked": True}] * 2
    assert [each.stderr for each in told] == ["", ""]
    assert world.sql(RECORD, id=id_of(made)) == [("ada.admin", "keys.create"), ("ada.admin", "keys.revoke")]


# Refusals


@pytest.mark.parametrize("words", EVERY)
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_only_admins_see_and_change_keys(
    keys: Command, world: SmallWorld, made: str, role: str, words: tuple[str, ...]
) -> None:
    before = world.sql(ROWS)
    told = keys(*words_for(words, id_of(made)), role=role)
    assert (told.exit_code, told.stdout) == (1, "")
    assert f"This needs the role admin, and ada.{role} has the role {role}." in told.stderr
    assert told.stderr.splitlines()[-1] == "Ask an admin for a key with that role."
    assert world.sql(ROWS) == before


@pytest.mark.parametrize("words", [("rotate", "ID"), ("revoke", "ID", "--yes"), ("revoke", "ID")])
def test_unknown_id_is_refused_without_a_question(keys: Command, words: tuple[str, ...]) -> None:
    told = keys(*words_for(words, UNKNOWN), "-o", "json")
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith(f"Error: {UNKNOWN} is not the id of a ")
    assert told.stderr.splitlines()[-1].endswith(": holdfast keys list --all")


@pytest.mark.parametrize("words", [("rotate", "ID"), ("revoke", "ID", "--yes"), ("revoke", "ID")])
def test_revoked_key_is_refused_without_a_question(keys: Command, made: str, words: tuple[str, ...]) -> None:
    keys("revoke", id_of(made), "--yes")
    told = keys(*words_for(words, id_of(made)))
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith(f"Error: {id_of(made)} is revoked already. (key_not_valid, request id ")
    assert told.stderr.splitlines()[-1] == "See the keys: holdfast keys list --all"


@pytest.mark.parametrize("words", [("rotate", "ID"), ("revoke", "ID", "--yes")])
@pytest.mark.parametrize("id_", ["", "..", "a/b", client_keys.as_text(UNKNOWN, "s3cret")])
def test_what_is_not_an_id_is_wrong_use_and_not_shown(
    keys: Command, world: SmallWorld, words: tuple[str, ...], id_: str
) -> None:
    told = keys(*words_for(words, id_))
    assert (told.exit_code, told.stdout) == (2, "")
    assert "Invalid value for 'ID': The id of a key is the part between hf_ and the next _" in told.stderr
    assert "s3cret" not in told.stderr


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--scope", "orders:delete"), "'orders:delete' is not one of 'orders:read', 'orders:write'"),
        (("--expires", "tomorrow"), "tomorrow is not a time in RFC 3339. Write 2027-01-31T12:00:00Z."),
        (("--expires", "0001-01-01T00:00:00+14:00"), "is not a time in RFC 3339."),
        (("--expires", "2100-01-31T00:00:00"), "2100-01-31T00:00:00 has no time zone: add Z for UTC."),
    ],
)
def test_bad_scope_or_time_is_wrong_use(keys: Command, world: SmallWorld, words: tuple[str, str], reason: str) -> None:
    told = keys("create", "till", *words)
    assert (told.exit_code, told.stdout) == (2, "")
    assert f"Invalid value for '{words[0]}': " in told.stderr
    assert reason in told.stderr
    assert world.sql(ROWS) == []


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("till", "--expires", "2020-01-31T00:00:00Z"), "is in the past: the key would never work."),
        (("a b",), "client: "),
    ],
)
def test_key_that_the_console_refuses_is_not_made(
    keys: Command, world: SmallWorld, words: tuple[str, ...], reason: str
) -> None:
    before = world.sql("SELECT count(*) FROM client_keys")
    told = keys("create", *words)
    assert (told.exit_code, told.stdout) == (1, "")
    assert reason in told.stderr
    assert world.sql("SELECT count(*) FROM client_keys") == before


def test_read_only_console_makes_no_key(
    run: Command, serve: Callable[..., Server], url: str, key_of: Callable[..., str], world: SmallWorld
) -> None:
    server = serve(new_app(url, CONSOLE_READ_ONLY="on"))
    told = run("keys", "--console-url", server.url, "--operator-key", key_of("admin"), "create", "till")
    assert (told.exit_code, told.stdout) == (1, "")
    assert "The setting CONSOLE_READ_ONLY of the console forbids every change." in told.stderr
    assert world.sql(ROWS) == []


# The address and the key


def test_console_and_key_are_found_as_by_ops(run: Command, server: Server, key_of: Callable[..., str]) -> None:
    assert "Set HOLDFAST_OPERATOR_KEY, or run: holdfast profiles set operator" in run("keys", "list").stderr
    told = run("--url", server.url, "--api-key", "hf_a_b", "keys", "list")
    assert told.exit_code == 2
    assert "before `keys` choose an Edge API. Write: holdfast keys --console-url" in told.stderr
    run("profiles", "set", "operator", "--url", server.url, "--api-key", key_of("admin"))
    assert run("keys", "list").exit_code == 0
    assert run("keys", "--profile", "operator", "list").exit_code == 0


def test_console_that_is_away_ends_with_3(run: Command) -> None:
    told = run("keys", "--console-url", "http://127.0.0.1:9", "--operator-key", "hfo_a_b", "create", "till")
    assert (told.exit_code, told.stdout) == (3, "")
    assert "It is unknown whether this was done." in told.stderr


@pytest.mark.parametrize("name", sorted(group.commands))
def test_each_command_has_help(run: Command, name: str) -> None:
    told = run("keys", name, "--help")
    assert told.exit_code == 0
    assert "Usage: " in told.stdout
