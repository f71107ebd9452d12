"""
The endpoint of a Region, from the data files of the installed botocore.

Reading two files takes a tenth of the time that importing botocore takes. This module understands
only the parts of the rule language that this service uses; botocore handles the rest.
"""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from eventbridge_partner.aws.configuration import API_VERSION, SERVICE

_GZIP: Final = 31
"""The `wbits` by which zlib expects gzip's header and checksum."""

_TEMPLATE: Final = re.compile(r"\{([^{}]*)\}")
_VERSION: Final = re.compile(rb"^__version__ = ['\"]([0-9A-Za-z.+-]+)['\"]$", re.MULTILINE)
_HEAD_BYTES: Final = 8192


class NotUnderstoodError(Exception):
    """These rules are not understood here: ask botocore."""


class InstalledBotocore:
    """
    The folder of the installed botocore, read without importing it.

    Args:
        folder: The folder that holds its modules.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def find(cls) -> InstalledBotocore:
        """
        Find botocore where an import would.

        Raises:
            NotUnderstoodError: It is not installed as a folder.
        """
        spec = importlib.util.find_spec("botocore")
        if spec is None or not spec.has_location or not spec.origin:
            raise NotUnderstoodError
        return cls(Path(spec.origin).parent)

    def version(self) -> str:
        """
        Return its `__version__`.

        Raises:
            NotUnderstoodError: It is written in an unexpected form.
        """
        try:
            with (self._folder / "__init__.py").open("rb") as file:
                found = _VERSION.search(file.read(_HEAD_BYTES))
        except OSError as error:
            raise NotUnderstoodError from error
        if found is None:
            raise NotUnderstoodError
        return found[1].decode()

    def endpoint(self, region: str, *, use_fips: bool, use_dual_stack: bool) -> str:
        """
        Return the URL that botocore would resolve.

        Raises:
            NotUnderstoodError: The rules end in an error, or are not understood here.
        """
        parameters = {"Region": region, "UseFIPS": use_fips, "UseDualStack": use_dual_stack}
        rule_set = self._load(f"{SERVICE}/{API_VERSION}/endpoint-rule-set-1")
        partitions = self._load("partitions")
        try:
            return _Rules(rule_set, partitions["partitions"]).url(parameters)
        except (AttributeError, IndexError, KeyError, TypeError, re.error) as error:
            raise NotUnderstoodError from error

    def _load(self, name: str) -> Any:
        path = self._folder / "data" / name
        try:
            try:
                content = path.with_name(f"{path.name}.json").read_bytes()
            except FileNotFoundError:
                packed = path.with_name(f"{path.name}.json.gz").read_bytes()
                content = zlib.decompress(packed, _GZIP)
            return orjson.loads(content)
        except (OSError, zlib.error, orjson.JSONDecodeError) as error:
            raise NotUnderstoodError from error


class _Rules:
    """The part of Smithy's endpoint rules that this service uses."""

    def __init__(self, rule_set: Mapping[str, Any], partitions: Sequence[Any]) -> None:
        self._rule_set = rule_set
        self._partitions = partitions

    def url(self, parameters: Mapping[str, Any]) -> str:
        scope: dict[str, Any] = {}
        for name, declared in self._rule_set["parameters"].items():
            value = parameters.get(name, declared.get("default"))
            if value is None and declared["required"]:
                raise NotUnderstoodError
            scope[name] = value
        if parameters.keys() - scope.keys():
            raise NotUnderstoodError
        url = self._first_url(self._rule_set["rules"], scope)
        if url is None:
            raise NotUnderstoodError
        return url

    def _first_url(self, rules: Sequence[Any], scope: Mapping[str, Any]) -> str | None:
        for rule in rules:
            known = dict(scope)
            if not all(self._holds(condition, known) for condition in rule["conditions"]):
                continue
            if rule["type"] == "endpoint":
                return self._string(rule["endpoint"]["url"], known)
            if rule["type"] != "tree":
                raise NotUnderstoodError  # an error: botocore words the message
            found = self._first_url(rule["rules"], known)
            if found is not None:
                return found
        return None

    def _holds(self, condition: Mapping[str, Any], scope: dict[str, Any]) -> bool:
        result = self._call(condition, scope)
        if "assign" in condition:
            scope[condition["assign"]] = result
        return result is not None and result is not False

    def _call(self, function: Mapping[str, Any], scope: dict[str, Any]) -> Any:
        given = [self._value(argument, scope) for argument in function["argv"]]
        match function["fn"], given:
            case "isSet", [value]:
                return value is not None
            case "not", [bool(value)]:
                return not value
            case "booleanEquals", [bool(left), bool(right)]:
                return left == right
            case "stringEquals", [str(left), str(right)]:
                return left == right
            case "getAttr", [dict(value), str(name)]:
                return value[name]
            case "aws.partition", [str(region)]:
                return self._partition(region)
            case _:
                raise NotUnderstoodError

    def _value(self, argument: Any, scope: dict[str, Any]) -> Any:
        match argument:
            case {"fn": _}:
                return self._call(argument, scope)
            case {"ref": name}:
                return scope[name]
            case bool():
                return argument
            case str():
                return self._string(argument, scope)
            case _:
                raise NotUnderstoodError

    def _string(self, template: Any, scope: Mapping[str, Any]) -> str:
        if not isinstance(template, str):
            raise NotUnderstoodError

        def part(found: re.Match[str]) -> str:
            value: Any = scope
            for name in found[1].split("#"):
                value = value[name]
            if not isinstance(value, str):
                raise NotUnderstoodError
            return value

        filled = _TEMPLATE.sub(part, template)
        if "{" in filled or "}" in filled:
            raise NotUnderstoodError
        return filled

    def _partition(self, region: str) -> Any:
        for partition in self._partitions:
            if region in partition["regions"] or re.match(partition["regionRegex"], region):
                break
        else:
            partition = self._partitions[0]
        return {**partition["outputs"], "name": partition["id"]}
