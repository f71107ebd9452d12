"""`python -m eventbridge_partner`: the same program as `eventbridge-partner`."""

from __future__ import annotations

import sys

from eventbridge_partner.cli import main

if __name__ == "__main__":
    sys.exit(main())
