"""Libra: exact, real-time aggregates for Firestore. The package that every entry point imports."""
