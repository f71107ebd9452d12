"""
Which environment variables botocore reads, and what the package does about each.

    python -m tests.aws.variables

exits with status 1 if the installed botocore reads a variable that is not listed here. Then check
whether it changes a setting that `aws/environment.py` reads. A scheduled job runs this with the
newest botocore.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import botocore

READ = {
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_",  # and the name of the service
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_MAX_ATTEMPTS",
    "AWS_SDK_UA_APP_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
    "REQUESTS_CA_BUNDLE",
}
"""Read without botocore."""

LEFT_TO_BOTOCORE = {
    "AWS_CONFIG_FILE",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DATA_PATH",
    "AWS_DEFAULT_PROFILE",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_METADATA_SERVICE_NUM_ATTEMPTS",
    "AWS_METADATA_SERVICE_TIMEOUT",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
}
"""Botocore is asked if one of them matters."""

OTHER_CREDENTIALS = {
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_V1_DISABLED",
    "AWS_IMDS_USE_IPV6",
    "AWS_LOGIN_CACHE_DIRECTORY",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "BOTO_CONFIG",
}
"""For sources of credentials that rank below the environment."""

OF_BOTOCORES_CLIENTS = {
    "AWS_ACCOUNT_ID",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_AUTH_SCHEME_PREFERENCE",
    "AWS_BEARER_TOKEN_",
    "AWS_CSM_CLIENT_ID",
    "AWS_CSM_ENABLED",
    "AWS_CSM_HOST",
    "AWS_CSM_PORT",
    "AWS_DEFAULTS_MODE",
    "AWS_DISABLE_HOST_PREFIX_INJECTION",
    "AWS_DISABLE_REQUEST_COMPRESSION",
    "AWS_ENDPOINT_DISCOVERY_ENABLED",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_NEW_RETRIES_2026",
    "AWS_REGION",  # for the Region of retries; Settings.region reads it before botocore is asked
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_REQUEST_MIN_COMPRESSION_SIZE_BYTES",
    "AWS_RESPONSE_CHECKSUM_VALIDATION",
    "AWS_RETRY_MODE",
    "AWS_S3_DISABLE_EXPRESS_SESSION_AUTH",
    "AWS_S3_DISABLE_MULTIREGION_ACCESS_POINTS",
    "AWS_S3_USE_ARN_REGION",
    "AWS_S3_US_EAST_1_REGIONAL_ENDPOINT",
    "AWS_SIGV4A_SIGNING_REGION_SET",
    "AWS_STS_REGIONAL_ENDPOINTS",
    "BOTOCORE_EXPERIMENTAL__PLUGINS",
    "BOTOCORE_TCP_KEEPALIVE",
    "BOTO_DISABLE_CRT",
    "BOTO_EXPERIMENTAL__ADD_PROXY_HOST_HEADER",
    "BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE",
    "CLI_V1_TO_V2_MIGRATION_DEBUG_MODE",
    "SSLKEYLOGFILE",
    "_X_AMZN_TRACE_ID",
}
"""For botocore's own clients, which the package never makes."""

KNOWN = READ | LEFT_TO_BOTOCORE | OTHER_CREDENTIALS | OF_BOTOCORES_CLIENTS

_NAME = re.compile(r"(AWS|BOTO|BOTOCORE)_[A-Z0-9_]+")


def variables_in(source: str) -> Iterator[str]:
    """Yield the names in a module's text that look like AWS's variables, or are read as such."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(str(name)) if _NAME.fullmatch(name):
                yield name
            case ast.Call(ast.Attribute(attr="get", value=mapping), [ast.Constant(str(name)), *_]):
                if ast.unparse(mapping).endswith("environ"):
                    yield name
            case ast.Call(function, [ast.Constant(str(name)), *_]):
                if ast.unparse(function).endswith("getenv"):
                    yield name
            case ast.Subscript(mapping, ast.Constant(str(name))):
                if ast.unparse(mapping).endswith("environ"):
                    yield name
            case _:
                pass


def unknown_variables(folder: Path) -> dict[str, str]:
    """Return the variables that a folder's modules read and `KNOWN` lacks, each with its module."""
    return {
        name: str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.py"))
        for name in variables_in(path.read_text(encoding="utf-8"))
        if name not in KNOWN
    }


if __name__ == "__main__":
    found = unknown_variables(Path(botocore.__file__).parent)
    for variable, module in found.items():
        print(f"botocore {botocore.__version__} reads {variable} ({module})")
    sys.exit(1 if found else 0)
