"""The version of this package, for whoever needs to name it."""

__version__ = "0.2.0.dev0"
