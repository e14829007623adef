"""What uvicorn serves: `uvicorn services.api.main:app`. The environment is read here, and only here."""

import logging
import os

from services.api.application import application
from services.api.settings import ApiSettings
from shared import log

settings = ApiSettings.from_environment(os.environ)
log.configure(settings.books.log_level)
logging.getLogger("uvicorn.access").disabled = True  # its lines hold paths, and a path may hold a key
app = application(settings)
