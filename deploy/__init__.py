"""What `deploy.sh` and `make emulate` need beyond a shell. Nothing here is deployed."""
