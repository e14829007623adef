"""Three other ways to count, and the ledger called as they are."""
