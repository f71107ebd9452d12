"""Resolves AWS's settings and signs requests; the only room that knows botocore."""
