"""What uvicorn serves: `uvicorn services.collector.main:app`. The environment is read here, and only here."""

import os

from services.collector.application import application
from services.collector.settings import CollectorSettings
from shared.http.application import begin_logging, collect_seldom

settings = CollectorSettings.from_environment(os.environ)
begin_logging(settings.books.log_level)
app = application(settings)
collect_seldom()
