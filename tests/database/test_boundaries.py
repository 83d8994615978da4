"""What the source may not do: imports, reading the environment or the clock, comparing secrets with `==`."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMON = {f"common.{path.parent.name}" for path in ROOT.glob("common/*/__init__.py")}
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"common"} | COMMON | {"tests"}
PARTICIPANTS = ("inventory_service", "orders_service", "payments_service")
SERVICES = ("edge_api", *PARTICIPANTS, "orchestrator", "webhooks", "console")
RUN_TIME = COMMON - {"common.server"} | {"domain"}
MAY_IMPORT = {service: {service} | RUN_TIME for service in SERVICES} | {
    "domain": set(),
    "common.json_text": set(),
    "common.metrics": {"common.process"},
    "common.process": {"domain"},
    "common.database": {"common.process"},
    "common.schema": {"common.database", "common.process"},
    "common.credentials": set(),
    "common.calls": {"common.json_text", "common.process", "common.tracing"},
    "common.api": {
        "common.credentials",
        "common.database",
        "common.json_text",
        "common.process",
        "common.tracing",
        "domain",
    },
    "common.attention": {"common.database", "domain"},
    "common.heartbeats": {"common.database", "common.process"},
    "common.ledger": {"common.database"},
    "common.events": {"common.api"},
    "common.products": {"common.api", "domain"},
    "common.webhooks": {"common.database"},
    "common.tracing": {"common.process"},
    "common.server": {"common.api", "common.process"},
    # It shows the books of all, acts as the Edge API does, and makes keys as the commands of `ops` do.
    "console": {"edge_api", "ops", "orchestrator"} | RUN_TIME,
    "crash_points": {"common.process"},
    "orchestrator": {"crash_points", "orchestrator"} | RUN_TIME,  # its main module arms them, as gunicorn.conf.py does
    "holdfast_client": set(),  # installed by others
    "ops": RUN_TIME | {"console"},  # what the console keeps of persons
    "local": RUN_TIME | {"holdfast_client", "ops"},
    "benchmarks": RUN_TIME | {"edge_api", "local", "ops", "orchestrator", "tests"},
    "supply_chain": set(),
    "stripe_double": set(),
}
# Other readers of the environment: the settings, the check for honcho, and code that starts processes.
MAY_READ_THE_ENVIRONMENT = {"common/process/settings.py", "ops/migrate.py", "ops/service_token.py"}
MAY_READ_THE_ENVIRONMENT |= {"common/metrics/starting.py"}  # tells prometheus_client where its files are
STARTS_PROCESSES = ("local/", "benchmarks/", "supply_chain/")


def modules(package):
    for path in sorted((ROOT / package.replace(".", "/")).rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Return the packages that a module imports, also within functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (package_of(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports must be absolute"
            yield from (package_of(f"{node.module}.{alias.name}") for alias in node.names)


def package_of(name):
    """Return `common.api` for `common.api.errors`; otherwise the first part of the name."""
    return ".".join(name.split(".")[: 2 if name.startswith("common.") else 1])


def reads_environment(tree):
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_os(node.value)}
    names |= {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "os"
        for alias in node.names
    }
    return bool(names & {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"})


def _is_os(node):
    return isinstance(node, ast.Name) and node.id == "os"


def test_every_package_has_its_rule():
    assert OURS - {"tests"} == set(MAY_IMPORT)


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_package_imports_only_allowed_packages(package):
    for path, tree in modules(package):
        assert set(imported(tree)) & OURS <= MAY_IMPORT[package] | {package}, path


def test_only_the_settings_read_the_environment():
    trees = [pair for package in MAY_IMPORT for pair in modules(package)]
    trees.append(("gunicorn.conf.py", ast.parse((ROOT / "gunicorn.conf.py").read_text(encoding="utf-8"))))
    readers = {path for path, tree in trees if reads_environment(tree)}
    assert {path for path in readers if not path.startswith(STARTS_PROCESSES)} == MAY_READ_THE_ENVIRONMENT


@pytest.mark.parametrize(
    "text",
    ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ", "from os import getenv"],
)
def test_check_detects_a_reader_of_the_environment(text):
    assert reads_environment(ast.parse(text))


def reads_the_clock(tree):
    """Whether it reads this machine's clock; `func.now()` is the database's."""
    asked = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id == "func")
    }
    imported_from_time = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    return bool((asked | imported_from_time) & {"now", "utcnow", "today", "time", "time_ns"})


READ_THE_CLOCK = [
    "common/database/clock.py", "common/tracing/sdk.py", "console/job_pages.py", "console/pages.py", "domain/ids.py"
]  # fmt: skip


def test_no_module_reads_the_system_clock():
    """One host's clock that is an hour off would end valid leases. Durations use `time.monotonic()`.

    Ids begin with the system clock's time, but nothing interprets it, so it may be off. Tokens are checked with the
    system clock only until the database has told its own. Spans have its time, and pages say when they were made, for a
    person.
    """
    trees = [pair for package in (*COMMON, "domain", *SERVICES) for pair in modules(package)]
    assert sorted(path for path, tree in trees if reads_the_clock(tree)) == READ_THE_CLOCK


@pytest.mark.parametrize(
    "text",
    [
        "import time\ntime.time()",
        "from time import time",
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "date.today()",
    ],
)
def test_check_detects_a_reader_of_the_clock(text):
    assert reads_the_clock(ast.parse(text))


# Every test for equality in the modules that handle credentials. None of these is with a secret that a caller sent:
# `==` ends at the first difference, so its duration tells how much of a guess is right. Signatures are left to PyJWT.
MAY_COMPARE = {
    "edge_api/clients.py": {"access.name not in key.scopes"},
    "console/operators.py": {"role != operator_keys.ROLES[0]"},
    "local/credentials.py": {"in_use != kept.get('SERVICE_TOKEN_KEYS')"},
    "common/credentials/service_tokens.py": {
        "jwt.get_unverified_header(token) != HEADER",
        "claims['iss'] == OPS",
        "set(claims) != set(REQUIRED)",
        "claims['iss'] not in CALLERS",
    },
}
IN_CONSTANT_TIME = {
    "console/operators.py": {
        "hmac.compare_digest(digest(secret), bytes(row['secret_sha256']) if row else NOBODY)",
    },
    "edge_api/clients.py": {"hmac.compare_digest(client_keys.digest(secret), key.secret_sha256)"},
    "local/credentials.py": {"hmac.compare_digest(bytes(row['secret_sha256']), client_keys.digest(secret))"},
}


def equalities(tree):
    """The expressions that compare with `==`, `!=`, `in` or `not in`."""
    equal = ast.Eq | ast.NotEq | ast.In | ast.NotIn
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare) and any(isinstance(each, equal) for each in node.ops)
    }


def compared_in_constant_time(tree):
    return {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "hmac.compare_digest"
    }


def test_secrets_are_compared_in_constant_time():
    known = {"console/operators.py", "edge_api/clients.py", "local/credentials.py"}
    packages = ("console", "edge_api", "local")
    trees = [(path, tree) for package in packages for path, tree in modules(package) if path in known]
    for path, tree in [*trees, *modules("common/credentials")]:
        assert equalities(tree) == MAY_COMPARE.get(path, set()), path
        assert compared_in_constant_time(tree) == IN_CONSTANT_TIME.get(path, set()), path


@pytest.mark.parametrize("text", ["a == b", "1 if a != b.c else 2", "a in (b,)", "x = 1 < a not in b"])
def test_check_detects_a_test_for_equality(text):
    assert equalities(ast.parse(text))
