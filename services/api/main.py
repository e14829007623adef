"""What uvicorn serves: `uvicorn services.api.main:app`. The environment is read here, and only here."""

import os

from services.api.application import application
from services.api.settings import ApiSettings
from shared.http.application import begin_logging, collect_seldom

settings = ApiSettings.from_environment(os.environ)
begin_logging(settings.books.log_level)
app = application(settings)
collect_seldom()
