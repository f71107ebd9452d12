"""Each framework, scheduler and supervisor in the docs works as they show it."""

from __future__ import annotations

import asyncio
import configparser
import importlib.util
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
import yaml

from eventbridge_partner.cli import _parser
from eventbridge_partner.outbox import PostgresOutbox, Relay
from eventbridge_partner.outbox.contract import event
from eventbridge_partner.testing import FakeEventBridge
from tests.patience import until

pytestmark = [pytest.mark.process, pytest.mark.slow]  # the tests start PostgreSQL

EXAMPLES = Path(__file__).parents[2] / "examples/outbox"


@pytest.fixture
def conninfo(database):
    return psycopg.conninfo.make_conninfo(**database)


@pytest.fixture
def outbox(conninfo):
    with PostgresOutbox(conninfo) as outbox:
        yield outbox


@pytest.fixture
def service(monkeypatch):
    """A service that the environment points to, as in production."""
    service = FakeEventBridge()
    with service.serve() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_EVENTBRIDGE", server.url)
        monkeypatch.setenv("AWS_REGION", service.region)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(service.credentials.access_key))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(service.credentials.secret_key))
        yield service


def example(name):
    """Import an example afresh, with the current environment."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def fill(outbox, count):
    outbox.create()
    with outbox.transaction() as connection:
        outbox.add(connection, *(event(number, f"c{number % 9}") for number in range(count)))


# ---------------------------------------------------------------- schedulers


def test_procrastinate(outbox, service, conninfo, monkeypatch):
    """One periodic task drains the outbox, in a procrastinate worker on the same database."""
    monkeypatch.setenv("DATABASE_URL", conninfo)
    fill(outbox, 1000)
    shop = example("procrastinate_app")
    # A procrastinate worker needs an asynchronous connector; deferring works with any.
    with shop.app.open():
        shop.app.schema_manager.apply_schema()
        assert [task.cron for task in shop.app.periodic_registry.periodic_tasks.values()] == [
            "* * * * *"
        ]
        shop.relay_events.defer(timestamp=0)
        shop.app.run_worker(wait=False, install_signal_handlers=False, listen_notify=False)
    assert len(service.accepted) == 1000
    assert outbox.stats().waiting == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_celery(outbox, service, conninfo, monkeypatch):
    """The task that beat sends drains the outbox, in a Celery worker."""
    from celery.beat import Scheduler
    from celery.contrib.testing.worker import start_worker

    monkeypatch.setenv("DATABASE_URL", conninfo)
    monkeypatch.setenv("BROKER_URL", "memory://")
    fill(outbox, 1000)
    shop = example("celery_app")
    scheduler = Scheduler(app=shop.app)
    scheduler.setup_schedule()
    entry = scheduler.schedule["relay"]
    assert entry.options == {"expires": 55}
    with start_worker(shop.app, perform_ping_check=False, pool="solo"):
        scheduler.apply_async(entry, advance=False)
        until(lambda: len(service.accepted) == 1000)
    assert outbox.stats().waiting == 0


# ---------------------------------------------------------------- frameworks


def test_flask(outbox, service, conninfo, monkeypatch):
    """An order and its event are stored together, or not at all."""
    monkeypatch.setenv("DATABASE_URL", conninfo)
    outbox.create()
    with psycopg.connect(conninfo) as connection:
        connection.execute("CREATE TABLE orders (number integer PRIMARY KEY, customer text)")
    shop = example("flask_app").app.test_client()
    orders = ("/orders/acme/1", "/orders/acme/1", "/orders/acme/2")
    assert [shop.post(order).status_code for order in orders] == [201, 409, 201]
    relay_all(outbox)
    assert numbers(service) == [1, 2]


def test_fastapi(outbox, service, database, monkeypatch):
    """An order and its event are stored together, or not at all."""
    url = "postgresql+asyncpg://{user}@/{dbname}?host={host}".format(**database)
    monkeypatch.setenv("DATABASE_URL", url)
    outbox.create()
    shop = example("fastapi_app")
    plain = sqlalchemy.create_engine(url.replace("asyncpg", "psycopg"))
    shop.Base.metadata.create_all(plain)
    plain.dispose()

    async def main() -> list[int]:
        orders = ("/orders/acme/1", "/orders/acme/1", "/orders/acme/2")
        statuses = [await post(shop.app, order) for order in orders]
        await shop.engine.dispose()
        return statuses

    assert asyncio.run(main()) == [201, 409, 201]
    relay_all(outbox)
    assert numbers(service) == [1, 2]


async def post(app, path):
    """Send an empty request to an ASGI application, and return the status of its answer."""
    answers = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await app(scope | {"asgi": {"version": "3.0"}, "http_version": "1.1"}, receive, send)
    return answers[0]["status"]


@pytest.mark.process
def test_django(outbox, service, database, monkeypatch):
    """A migration makes the outbox, and an order and its event are stored together."""
    settings = {"PGHOST": "host", "PGUSER": "user", "PGDATABASE": "dbname"}
    environment = os.environ | {name: database[part] for name, part in settings.items()}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])

    def manage(*arguments):
        return subprocess.run(
            [sys.executable, "-W", "ignore", "manage.py", *arguments],
            cwd=EXAMPLES / "django_shop",
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    assert "Applying shop.0001_initial... OK" in manage("migrate")
    assert "No changes detected" in manage("makemigrations", "--check", "--dry-run")
    manage(
        "shell",
        "-c",
        "from shop.models import Order, create_order\n"
        "from django.db import IntegrityError\n"
        "create_order('acme', 1); create_order('acme', 2)\n"
        "try: create_order('acme', 2)\n"
        "except IntegrityError: pass\n"
        "assert Order.objects.count() == 2\n",
    )
    relay_all(outbox)
    assert numbers(service) == [1, 2]


def relay_all(outbox):
    from eventbridge_partner import PartnerEventsClient

    with PartnerEventsClient() as client:
        Relay(outbox, client).drain()


def numbers(service):
    details = [json.loads(one.detail) for one in service.accepted]
    assert all(detail["_meta"]["id"] for detail in details)
    return sorted(detail["order"] for detail in details)


# ---------------------------------------------------------------- migrations

MIGRATION = """
from alembic import op
from eventbridge_partner.outbox import PostgresOutbox

revision, down_revision = "1", None

def upgrade():
    op.execute(PostgresOutbox().schema_sql())

def downgrade():
    for table in ("version", "hold", "dead_letter"):
        op.drop_table(f"eventbridge_outbox_{table}")
    op.drop_table("eventbridge_outbox")
"""

ENVIRONMENT = """
from alembic import context
with context.config.attributes["connection"].begin():
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()
"""


def test_alembic(outbox, database, tmp_path):
    """A migration makes the outbox, and autogenerate finds nothing to change in it."""
    from alembic import command
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext

    (tmp_path / "versions").mkdir()
    (tmp_path / "versions/1_outbox.py").write_text(MIGRATION)
    (tmp_path / "env.py").write_text(ENVIRONMENT)
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://{user}@/{dbname}?host={host}".format(**database)
    )
    config = Config()
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        metadata = sqlalchemy.MetaData()
        assert len(outbox.tables(metadata)) == 4
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        changes = [
            change
            for change in compare_metadata(context, metadata)
            if not (change[0] == "remove_table" and change[1].name == "alembic_version")
        ]
        assert changes == []
        connection.commit()
        assert outbox.stats().waiting == 0
        command.downgrade(config, "base")
    engine.dispose()


# ---------------------------------------------------------------- supervisors


def test_systemd():
    """The unit starts a relay with valid options, and gives it time to end."""
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(EXAMPLES / "eventbridge-relay@.service")
    service = unit["Service"]
    program, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/eventbridge-partner")
    relay = _parser(arguments).parse_args(arguments)
    assert (relay.command, service["Type"]) == ("relay", "notify")
    assert float(service["TimeoutStopSec"]) > relay.lease / 2
    assert float(service["WatchdogSec"]) > relay.lease


def test_kubernetes():
    """The manifest starts a relay with valid options, and gives it time to end."""
    manifest = yaml.safe_load((EXAMPLES / "relay.yaml").read_text())
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"] == ["eventbridge-partner"]
    relay = _parser(container["args"]).parse_args(container["args"])
    assert relay.command == "relay"
    assert pod["terminationGracePeriodSeconds"] > relay.lease / 2
    labels = manifest["spec"]["template"]["metadata"]["labels"]
    assert manifest["spec"]["selector"]["matchLabels"] == labels
    assert {one["name"] for one in container["env"]} >= {"EVENTBRIDGE_PARTNER_OUTBOX"}
    (_, _, probe) = container["livenessProbe"]["exec"]["command"]
    assert relay.heartbeat in probe
    assert manifest["spec"]["replicas"] * relay.max_rate <= 1400


@pytest.mark.process
@pytest.mark.parametrize(("age", "status"), [(0, 0), (200, 1)])
def test_the_probe_of_the_manifest(tmp_path, age, status):
    """The probe's shell command tells a fresh heartbeat from an old one."""
    manifest = yaml.safe_load((EXAMPLES / "relay.yaml").read_text())
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    shell, option, probe = container["livenessProbe"]["exec"]["command"]
    beat = tmp_path / "heartbeat"
    beat.touch()
    os.utime(beat, (beat.stat().st_mtime - age,) * 2)
    probe = probe.replace("/tmp/heartbeat", str(beat))
    assert subprocess.run([shell, option, probe], check=False).returncode == status
