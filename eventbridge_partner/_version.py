"""The version of this package, for whoever needs to name it."""

__version__ = "0.1.0"
