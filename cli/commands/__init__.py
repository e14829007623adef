"""One module a command; `cli.main` lists them."""
