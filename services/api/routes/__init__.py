"""The routes, one module for each subject: take parameters, call `shared.windows`, answer."""
