"""The soak's application for the processes that try suspects, told by their environment."""

from __future__ import annotations

import os
from datetime import timedelta

from tests.soak.application import PORT, TIMEOUT_SECONDS, application

app = application(
    int(os.environ[PORT]), timedelta(seconds=float(os.environ[TIMEOUT_SECONDS])), alone=True
)
