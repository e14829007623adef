"""What uvicorn serves: `uvicorn services.usage.main:app`. The environment is read here, and only here."""

import os

from services.usage.application import application, tokens
from services.usage.settings import UsageSettings
from shared.http.application import begin_logging

settings = UsageSettings.from_environment(os.environ)
begin_logging(settings.books.log_level)
app = application(settings, tokens(os.environ, settings.books.project))
