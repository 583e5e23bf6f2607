"""The page: events to see, hear and edit in a browser, served on this machine or written as one file."""
