"""Settings of the Django project."""

from __future__ import annotations

import os

SECRET_KEY = "only-for-this-example"
USE_TZ = True
INSTALLED_APPS = ["shop"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": os.environ["PGDATABASE"],
        "USER": os.environ["PGUSER"],
        "HOST": os.environ["PGHOST"],
        "OPTIONS": {"options": os.environ.get("PGOPTIONS", "")},
    }
}
