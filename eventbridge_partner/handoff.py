"""
Instructions for a customer, in four formats: how to receive a source's events.

A partner event source delivers nothing until the customer associates it with an event bus in their
account, and events on a bus without a rule go unseen. So each format associates the source and adds
a starter rule that writes every event to a CloudWatch log group.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from typing import Any, Final, Literal, get_args

import attrs

from eventbridge_partner._foreign_text import plain_text, quoted
from eventbridge_partner.errors import Finding, InvalidEventError
from eventbridge_partner.models import SourceName
from eventbridge_partner.models._source_name import account_findings, source_findings

HandoffFormat = Literal["text", "cli", "cloudformation", "terraform"]
"""Text for people, a shell script for the AWS CLI, a template, or a configuration."""

_REGION: Final = re.compile("[a-z]{2,}(-[a-z]+)+-[0-9]+")
_PARTITIONS: Final = (
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eusc-", "aws-eusc"),
)
"""Prefixes of Regions, by partition; all other Regions are in `aws`."""

_RULE: Final = "log-partner-events"
_TARGET: Final = "log"
_RETENTION_DAYS: Final = 14

# User guide, "Using resource-based policies for Amazon EventBridge": without this policy, the rule
# matches but nothing is written. A target that is a log group must not have a role.
_WRITERS: Final = ("events.amazonaws.com", "delivery.logs.amazonaws.com")
_WRITES: Final = ("logs:CreateLogStream", "logs:PutLogEvents")


@attrs.frozen
class _Kit:
    """The names that all formats share."""

    name: str
    account: str
    region: str

    @property
    def log_group(self) -> str:
        # EventBridge's console only shows and allows log groups with this prefix.
        return f"/aws/events/{self.name}"

    @property
    def log_group_arn(self) -> str:
        found = (partition for start, partition in _PARTITIONS if self.region.startswith(start))
        partition = next(found, "aws")
        return f"arn:{partition}:logs:{self.region}:{self.account}:log-group:{self.log_group}"

    @property
    def policy_name(self) -> str:
        # Policy names are unique in an account, and shorter than a source's name may be.
        return f"partner-events-{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"

    @property
    def pattern(self) -> dict[str, Any]:
        return {"source": [self.name]}

    def policy(self, resource: str) -> dict[str, Any]:
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Sid": "EventBridgeWritesEvents",
                    "Effect": "Allow",
                    "Principal": {"Service": list(_WRITERS)},
                    "Action": list(_WRITES),
                    "Resource": resource,
                }
            ],
        }


def handoff(
    source: SourceName | str,
    *,
    account: str,
    region: str,
    format: HandoffFormat = "text",  # noqa: A002 - as on the command line
) -> str:
    """
    Return instructions with which a customer associates a source with an event bus.

    All formats create the same: an event bus with the name of the source, a log group, the policy
    that lets EventBridge write to it, and a rule that sends every event there. They hold no
    secrets.

    Args:
        source: The partner event source.
        account: The customer's account, in which the source was created: 12 digits.
        region: The Region in which it was created.
        format: `text` for people who use the console, `cli` for a shell script with the AWS CLI,
            `cloudformation` for a template in YAML, `terraform` for a configuration in HCL.

    Returns:
        The text, ending in a line break.

    Raises:
        InvalidEventError: The source, account, Region or format is invalid. It lists everything
            that is wrong.
    """
    findings = [
        *(() if isinstance(source, SourceName) else source_findings(source)),
        *account_findings(account),
        *_region_findings(region),
    ]
    if format not in get_args(HandoffFormat):
        allowed = ", ".join(get_args(HandoffFormat))
        findings.append(Finding("format", f"is {quoted(format)}", f"allowed: {allowed}"))
    if findings:
        raise InvalidEventError(findings)
    name = str(source) if isinstance(source, SourceName) else plain_text(source)
    kit = _Kit(name, plain_text(account), plain_text(region))
    match format:
        case "text":
            return _text(kit)
        case "cli":
            return _cli(kit)
        case "cloudformation":
            return _cloudformation(kit)
        case "terraform":
            return _terraform(kit)


def _region_findings(region: object) -> tuple[Finding, ...]:
    if isinstance(region, str) and _REGION.fullmatch(region):
        return ()
    allowed = "allowed: the name of a Region, such as us-east-1"
    return (Finding("region", f"is {quoted(region)}", allowed),)


def _text(kit: _Kit) -> str:
    return f"""\
Receive our events in Amazon EventBridge

  Partner event source  {kit.name}
  AWS account           {kit.account}
  Region                {kit.region}

Events reach you once you have associated the source with an event bus. Events sent before that are
lost, and a source that is not associated expires within two weeks.

1. Sign in to the AWS Management Console with account {kit.account}, choose the Region
   {kit.region}, and open Amazon EventBridge.
2. Under Integration, Partner event sources, select
     {kit.name}
   and choose "Associate with event bus". The event bus gets the name of the source.
3. To see events arrive, create a rule under Buses, Rules, on that event bus:
     Name           {_RULE}
     Event pattern  {json.dumps(kit.pattern)}
     Target         CloudWatch log group {kit.log_group}
   The console creates the log group, and lets EventBridge write to it.
4. The source is listed as Active now. Events are in the log group seconds after we send them.

Keep the event bus and the source when you replace the rule with your own. If you deactivate the
source or delete its event bus, events are lost again, and after two weeks the source is deleted.
"""


def _cli(kit: _Kit) -> str:
    def aws(service: str, operation: str, *options: str) -> str:
        # Options come in pairs of a name and a value.
        given = [f"--region {kit.region}"]
        given += (
            f"{name} {shlex.quote(value)}"
            for name, value in zip(options[::2], options[1::2], strict=True)
        )
        return " \\\n  ".join((f"aws {service} {operation}", *given))

    def json_text(document: dict[str, Any]) -> str:
        return json.dumps(document, separators=(",", ":"))

    name, bus = ("--name", kit.name), ("--event-bus-name", kit.name)
    group, rule = ("--log-group-name", kit.log_group), ("--rule", _RULE)
    state = aws("events", "describe-event-source", *name, "--query", "State", "--output", "text")
    policy = json_text(kit.policy(f"{kit.log_group_arn}:*"))
    target = f"Id={_TARGET},Arn={kit.log_group_arn}"
    failures = ("--query", "FailedEntryCount", "--output", "text")
    return f"""\
#!/bin/sh
# Associates the partner event source
#   {kit.name}
# with an event bus in account {kit.account}, Region {kit.region}, and logs its events.
# Run it with `sh`, with the AWS CLI and credentials of that account. It can be run again.
set -eu
export AWS_PAGER=""

account=$(aws sts get-caller-identity --region {kit.region} --query Account --output text)
if [ "$account" != {kit.account} ]; then
  echo "These are credentials of account $account, not of {kit.account}." >&2
  exit 1
fi

# The source exists: it is PENDING until it has an event bus.
{state}

# The event bus has the name of the source.
{aws("events", "describe-event-bus", *name)} >/dev/null 2>&1 ||
{aws("events", "create-event-bus", *name, "--event-source-name", kit.name)}

# A log group that EventBridge may write to. If it exists already, the first command says so.
{aws("logs", "create-log-group", *group)} || true
{aws("logs", "put-retention-policy", *group, "--retention-in-days", str(_RETENTION_DAYS))}
{aws("logs", "put-resource-policy", "--policy-name", kit.policy_name, "--policy-document", policy)}

# A rule that sends every event there.
{aws("events", "put-rule", "--name", _RULE, *bus, "--event-pattern", json_text(kit.pattern))}
failed=$({aws("events", "put-targets", *rule, *bus, "--targets", target, *failures)})
if [ "$failed" != 0 ]; then
  echo "The target could not be added to the rule." >&2
  exit 1
fi

# The source is ACTIVE: from now on, events arrive.
{state}
"""


def _cloudformation(kit: _Kit) -> str:
    # JSON is YAML: a JSON string is also a YAML string.
    quoted = json.dumps
    description = f"Event bus and log of a partner event source, for {kit.account} in {kit.region}"
    # GetAtt returns the ARN of a log group with `:*`: a policy needs it, a target must not have it.
    policy = json.dumps(kit.policy("${LogGroup.Arn}"))
    target = "arn:${AWS::Partition}:logs:${AWS::Region}:${AWS::AccountId}:log-group:${LogGroup}"
    return f"""\
# Associates the partner event source
#   {kit.name}
# with an event bus in account {kit.account}, Region {kit.region}, and logs its events:
#   aws cloudformation deploy --region {kit.region} --stack-name partner-events --template-file FILE
AWSTemplateFormatVersion: "2010-09-09"
Description: {quoted(description)}
Resources:
  EventBus:
    Type: AWS::Events::EventBus
    Properties:
      # The event bus has the name of the source.
      Name: {quoted(kit.name)}
      EventSourceName: {quoted(kit.name)}
  LogGroup:
    Type: AWS::Logs::LogGroup
    DeletionPolicy: Delete
    UpdateReplacePolicy: Delete
    Properties:
      LogGroupName: {quoted(kit.log_group)}
      RetentionInDays: {_RETENTION_DAYS}
  LogPolicy:
    Type: AWS::Logs::ResourcePolicy
    Properties:
      PolicyName: {quoted(kit.policy_name)}
      PolicyDocument: !Sub {quoted(policy)}
  Rule:
    Type: AWS::Events::Rule
    DependsOn: LogPolicy
    Properties:
      Name: {quoted(_RULE)}
      EventBusName: !Ref EventBus
      EventPattern: {quoted(kit.pattern)}
      Targets:
        - Id: {quoted(_TARGET)}
          Arn: !Sub {quoted(target)}
Outputs:
  EventBusArn:
    Value: !GetAtt EventBus.Arn
  LogGroupName:
    Value: !Ref LogGroup
"""


def _terraform(kit: _Kit) -> str:
    def quoted(value: object) -> str:
        # HCL strings are JSON strings, except that these two begin an expression.
        return json.dumps(value).replace("${", "$${").replace("%{", "%%{")

    return f"""\
# Associates the partner event source
#   {kit.name}
# with an event bus in account {kit.account}, Region {kit.region}, and logs its events.
# If your configuration already has them, leave out the first two blocks.
terraform {{
  required_providers {{
    aws = {{
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }}
  }}
}}

provider "aws" {{
  region              = {quoted(kit.region)}
  allowed_account_ids = [{quoted(kit.account)}]
}}

# The event bus has the name of the source.
resource "aws_cloudwatch_event_bus" "partner" {{
  name              = {quoted(kit.name)}
  event_source_name = {quoted(kit.name)}
}}

resource "aws_cloudwatch_log_group" "partner" {{
  name              = {quoted(kit.log_group)}
  retention_in_days = {_RETENTION_DAYS}
}}

resource "aws_cloudwatch_log_resource_policy" "partner" {{
  policy_name = {quoted(kit.policy_name)}
  policy_document = jsonencode({{
    Version = "2012-10-17"
    Statement = [{{
      Sid       = "EventBridgeWritesEvents"
      Effect    = "Allow"
      Principal = {{ Service = {quoted(_WRITERS)} }}
      Action    = {quoted(_WRITES)}
      Resource  = "${{aws_cloudwatch_log_group.partner.arn}}:*"
    }}]
  }})
}}

resource "aws_cloudwatch_event_rule" "partner" {{
  name           = {quoted(_RULE)}
  event_bus_name = aws_cloudwatch_event_bus.partner.name
  event_pattern  = jsonencode({{ source = [aws_cloudwatch_event_bus.partner.name] }})
}}

resource "aws_cloudwatch_event_target" "partner" {{
  rule           = aws_cloudwatch_event_rule.partner.name
  event_bus_name = aws_cloudwatch_event_bus.partner.name
  target_id      = {quoted(_TARGET)}
  arn            = aws_cloudwatch_log_group.partner.arn
  depends_on     = [aws_cloudwatch_log_resource_policy.partner]
}}
"""
