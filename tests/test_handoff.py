"""Each form of the hand-off kit is checked by a program that reads it."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import hcl2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from eventbridge_partner import InvalidEventError, SourceName
from eventbridge_partner.handoff import handoff

ROOT = Path(__file__).parents[1]
NAME = "aws.partner/example.com/acme/tickets"
# Everything in moto's server belongs to this account.
ACCOUNT = "123456789012"
REGION = "eu-west-1"
GROUP = f"/aws/events/{NAME}"
FORMATS = ["text", "cli", "cloudformation", "terraform"]
LONGEST = "aws.partner/example.com/" + "x" * 232
NAMES = [NAME, LONGEST, "aws.partner/-a/--b", "aws.partner/0/..", "aws.partner/_/null"]


def kit(
    format: str,  # noqa: A002
    name: str = NAME,
    account: str = ACCOUNT,
    region: str = REGION,
) -> str:
    return handoff(name, account=account, region=region, format=format)  # type: ignore[arg-type]


def policy(resource: str) -> dict[str, Any]:
    """Return the policy that EventBridge needs to write to a log group, by its user guide."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "EventBridgeWritesEvents",
                "Effect": "Allow",
                "Principal": {"Service": ["events.amazonaws.com", "delivery.logs.amazonaws.com"]},
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": resource,
            }
        ],
    }


@pytest.mark.parametrize("form", FORMATS)
def test_each_form_says_what_it_is_for(form):
    """Every form names the source, the account and the Region; text is the default."""
    text = kit(form)
    assert text.endswith("\n")
    for value in (NAME, ACCOUNT, REGION, "log-partner-events"):
        assert value in text
    if form == "text":
        assert GROUP in text
        assert text == handoff(SourceName.parse(NAME), account=ACCOUNT, region=REGION)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"name": "aws.partner/example.com"}, "source is 'aws.partner/example.com'; allowed: "),
        ({"name": f"{NAME}'; rm -rf /; '"}, "source is "),
        ({"name": f"{NAME}\n"}, "source is "),
        ({"name": "aws.partner/a/" + "b" * 243}, "source has 257 characters; the limit is 256"),
        ({"account": "12345678901"}, "account is '12345678901'; allowed: the 12 digits"),
        ({"account": "1234567890123"}, "account is "),
        ({"account": "١٢٣٤٥٦٧٨٩٠١٢"}, "account is "),
        ({"account": 123456789012}, "account is of type int; allowed: the 12 digits"),
        ({"region": "Frankfurt"}, "region is 'Frankfurt'; allowed: the name of a Region"),
        ({"region": "eu-west-1\n"}, "region is "),
        ({"region": None}, "region is None"),
        ({"format": "pdf"}, "format is 'pdf'; allowed: text, cli, cloudformation, terraform"),
    ],
)
def test_invalid_arguments_are_refused(given, found):
    """An invalid argument is refused, so that only checked values get into a script."""
    with pytest.raises(InvalidEventError, match=f"^{re.escape(found)}"):
        kit(**{"format": "cli", **given})


def test_all_that_is_wrong_is_said_at_once():
    """Each invalid argument has a finding, all in one error."""
    with pytest.raises(InvalidEventError) as refusal:
        kit("pdf", "x", "y", "z")
    found = [finding.field for finding in refusal.value.findings]
    assert found == ["source", "account", "region", "format"]


# The AWS CLI


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def client(service: str, url: str) -> Any:
    return botocore.session.get_session().create_client(
        service,
        region_name=REGION,
        endpoint_url=url,
        aws_access_key_id="x",
        aws_secret_access_key="x",
    )


@pytest.fixture
def customer(moto: str, tmp_path: Path) -> dict[str, str]:
    """Return a customer's environment, with an `aws` on the path that sends to moto's server."""
    program = tmp_path / "aws"
    script = ROOT / "tests/aws_cli.py"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -W error {script} "$@"\n')
    program.chmod(0o755)
    return os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": moto,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_CLI_CALLS": str(tmp_path / "calls"),
    }


def run(script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-s"],
        input=script,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_the_script_associates_the_source(moto, customer):
    """The script makes bus, log group, policy, rule and target, and can be run twice."""
    events, logs = client("events", moto), client("logs", moto)
    events.create_partner_event_source(Name=NAME, Account=ACCOUNT)
    # moto takes the part after the last slash as the name of a rule's bus.
    events.create_event_bus(Name="tickets")
    first = run(kit("cli"), customer)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("ACTIVE\n")  # moto knows no PENDING
    assert first.stdout.endswith("ACTIVE\n")

    assert events.describe_event_bus(Name=NAME)["Name"] == NAME
    (group,) = logs.describe_log_groups(logGroupNamePrefix=GROUP)["logGroups"]
    assert (group["logGroupName"], group["retentionInDays"]) == (GROUP, 14)
    (held,) = logs.describe_resource_policies()["resourcePolicies"]
    assert json.loads(held["policyDocument"]) == policy(group["arn"])
    (rule,) = events.list_rules(EventBusName="tickets")["Rules"]
    assert (rule["Name"], rule["State"]) == ("log-partner-events", "ENABLED")
    assert json.loads(rule["EventPattern"]) == {"source": [NAME]}
    (target,) = events.list_targets_by_rule(Rule=rule["Name"], EventBusName="tickets")["Targets"]
    assert target == {"Id": "log", "Arn": group["arn"].removesuffix(":*")}

    calls = [json.loads(line) for line in Path(customer["AWS_CLI_CALLS"]).read_text().splitlines()]
    assert {region for _, _, region, _ in calls} == {REGION}
    asked = {operation: members for _, operation, _, members in calls}
    assert asked["CreateEventBus"] == {"Name": NAME, "EventSourceName": NAME}
    assert asked["PutRule"]["EventBusName"] == asked["PutTargets"]["EventBusName"] == NAME

    second = run(kit("cli"), customer)
    assert second.returncode == 0
    assert "log group already exists" in second.stderr
    for made in (events, logs):
        made.close()


@pytest.mark.process
@pytest.mark.skipif(os.name != "posix", reason="a shell script")
def test_the_script_ends_where_something_is_wrong(moto, customer):
    """The script changes nothing in another account, or without the source."""
    other = run(kit("cli", account="210987654321"), customer)
    assert other.returncode == 1
    assert other.stderr == (f"These are credentials of account {ACCOUNT}, not of 210987654321.\n")
    missing = run(kit("cli", name=f"{NAME}-2"), customer)
    assert missing.returncode != 0
    calls = [json.loads(line) for line in Path(customer["AWS_CLI_CALLS"]).read_text().splitlines()]
    assert [operation for _, operation, _, _ in calls] == [
        "GetCallerIdentity",
        "GetCallerIdentity",
        "DescribeEventSource",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_arns_are_of_the_regions_partition(region, partition):
    """ARNs have the Region's partition, as botocore lists it."""
    assert botocore.session.get_session().get_partition_for_region(region) == partition
    script = kit("cli", region=region)
    assert set(re.findall(r"arn:[^:]+:logs:[^:]+", script)) == {f"arn:{partition}:logs:{region}"}


SEGMENTS = st.text("abcXYZ019._-", min_size=1, max_size=40)


@given(
    st.lists(SEGMENTS, min_size=2, max_size=4).map(lambda parts: "/".join(["aws.partner", *parts]))
)
def test_names_are_single_words_of_the_shell(name):
    """A shell reads each value as one word, for any name of a source."""
    words = shlex.split(kit("cli", name=name), comments=True)
    for option, value in (
        ("--event-source-name", name),
        ("--log-group-name", f"/aws/events/{name}"),
        ("--event-pattern", json.dumps({"source": [name]}, separators=(",", ":"))),
    ):
        assert words[words.index(option) + 1] == value


# CloudFormation


@pytest.mark.slow
@pytest.mark.parametrize("name", [NAME, LONGEST])
def test_the_template_passes_cfn_lint(name):
    """cfn-lint finds no error and no warning in the template."""
    from cfnlint.api import ManualArgs, lint

    settings = ManualArgs(regions=[REGION])
    assert lint(kit("cloudformation", name=name), config=settings) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_what_the_template_makes(name):
    """The template makes what the script makes; a target's ARN has no `:*` at its end."""
    from cfnlint.decode import decode_str

    template, problems = decode_str(kit("cloudformation", name=name))
    assert problems == []
    resources = template["Resources"]
    properties = {name: resource["Properties"] for name, resource in resources.items()}
    assert properties["EventBus"] == {"Name": name, "EventSourceName": name}
    group = f"/aws/events/{name}"
    assert properties["LogGroup"] == {"LogGroupName": group, "RetentionInDays": 14}
    document = properties["LogPolicy"]["PolicyDocument"]["Fn::Sub"]
    assert json.loads(document) == policy("${LogGroup.Arn}")
    rule = properties["Rule"]
    assert rule["EventBusName"] == {"Ref": "EventBus"}
    assert rule["EventPattern"] == {"source": [name]}
    (target,) = rule["Targets"]
    arn = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${LogGroup}"
    assert target == {"Id": "log", "Arn": {"Fn::Sub": arn}}
    assert resources["Rule"]["DependsOn"] == "LogPolicy"


# Terraform


def unquoted(value: Any) -> Any:
    """Return what python-hcl2 read, without the quotes that it leaves around names and strings."""
    match value:
        case dict():
            return {
                unquoted(name): unquoted(held)
                for name, held in value.items()
                if name != "__is_block__"
            }
        case list():
            return [unquoted(held) for held in value]
        case str() if value.startswith('"'):
            return json.loads(value)
        case _:
            return value


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_parses(name):
    """python-hcl2 can read the configuration, and finds the names unchanged."""
    found = unquoted(hcl2.loads(kit("terraform", name=name)))
    (provider,) = found["provider"]
    assert provider["aws"] == {"region": REGION, "allowed_account_ids": [ACCOUNT]}
    resources = {kind: made for resource in found["resource"] for kind, made in resource.items()}
    assert all(list(made) == ["partner"] for made in resources.values())
    bus = resources["aws_cloudwatch_event_bus"]["partner"]
    assert bus == {"name": name, "event_source_name": name}
    group = resources["aws_cloudwatch_log_group"]["partner"]
    assert group == {"name": f"/aws/events/{name}", "retention_in_days": 14}


def test_what_the_configuration_refers_to():
    """Rule, target and policy refer to the other resources, so that they are made in order."""
    text = kit("terraform")
    found = unquoted(hcl2.loads(text))
    resources = {kind: made for resource in found["resource"] for kind, made in resource.items()}
    bus = "${aws_cloudwatch_event_bus.partner.name}"
    group = "${aws_cloudwatch_log_group.partner.arn}"
    rule = resources["aws_cloudwatch_event_rule"]["partner"]
    assert rule["event_bus_name"] == bus
    assert "[aws_cloudwatch_event_bus.partner.name]" in rule["event_pattern"]
    target = resources["aws_cloudwatch_event_target"]["partner"]
    assert target == {
        "rule": "${aws_cloudwatch_event_rule.partner.name}",
        "event_bus_name": bus,
        "target_id": "log",
        "arn": group,
        "depends_on": ["${aws_cloudwatch_log_resource_policy.partner}"],
    }
    held = resources["aws_cloudwatch_log_resource_policy"]["partner"]["policy_document"]
    for word in (*policy("")["Statement"][0]["Action"], "delivery.logs.amazonaws.com"):
        assert f'"{word}"' in held
    assert f'Resource = "{group}:*"' in held


def test_sources_have_policies_of_their_own():
    """Each source has its own policy name, so that one does not replace another in an account."""
    names = {
        re.search(r"--policy-name (\S+)", kit("cli", name=name))[1]  # type: ignore[index]
        for name in NAMES
    }
    assert len(names) == len(NAMES)
