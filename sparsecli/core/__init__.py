"""The words that every layer speaks: events, audio, settings, errors. Imports nothing of the package, and no torch."""
