"""What uvicorn serves: `uvicorn services.ingestion.main:app`. The environment is read here, and only here."""

import os

from services.ingestion import log_files
from services.ingestion.application import application
from services.ingestion.settings import IngestionSettings
from shared.http.application import begin_logging

settings = IngestionSettings.from_environment(os.environ)
begin_logging(settings.books.log_level)
if settings.log_dir:
    log_files.into(settings.log_dir, "api")
app = application(settings)
