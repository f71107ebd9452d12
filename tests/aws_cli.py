"""
Stands in for the AWS CLI, whose package can be installed only with its own version of botocore.

It runs as the program `aws`. Like the CLI, it turns service, operation and options into one call
by the names in botocore's service models; it knows `--region`, `--query` and `--output`. For
anything else, it exits with the CLI's status for wrong usage. It appends each call to the file
that `AWS_CLI_CALLS` names, for tests to read.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import botocore.session
import jmespath
from botocore import xform_name
from botocore.exceptions import ClientError

WRONG_USAGE = 252
REFUSED = 254


def main(service: str, command: str, *options: str) -> int:
    session = botocore.session.get_session()
    model = session.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    if command not in operations:
        return wrong_usage(f"no operation {command}")
    shape = model.operation_model(operations[command]).input_shape
    shapes = shape.members if shape else {}
    members = {xform_name(name, "-"): name for name in shapes}
    given: dict[str, str] = {}
    asked: dict[str, Any] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        name = option.removeprefix("--")
        if option in ("--region", "--query", "--output"):
            given[name] = value
        elif option.startswith("--") and name in members:
            asked[members[name]] = converted(value, shapes[members[name]])
        else:
            return wrong_usage(f"no option {option}")
    if "region" not in given:
        return wrong_usage("You must specify a region")
    with Path(os.environ["AWS_CLI_CALLS"]).open("a", encoding="utf-8") as calls:
        calls.write(json.dumps([service, operations[command], given["region"], asked]) + "\n")
    client = session.create_client(service, region_name=given["region"])
    try:
        answer = getattr(client, xform_name(operations[command]))(**asked)
    except ClientError as error:
        print(error, file=sys.stderr)
        return REFUSED
    answer.pop("ResponseMetadata")
    found = jmespath.search(given["query"], answer) if "query" in given else answer
    print(found if given.get("output") == "text" else json.dumps(found, indent=4, default=str))
    return 0


def converted(text: str, shape: Any) -> Any:
    match shape.type_name:
        case "string":
            return text
        case "integer":
            return int(text)
        case "list":
            # The CLI's shorthand syntax for one structure of strings.
            return [dict(pair.split("=", 1) for pair in text.split(","))]
        case other:
            raise NotImplementedError(other)


def wrong_usage(what: str) -> int:
    print(f"aws: {what}", file=sys.stderr)
    return WRONG_USAGE


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
