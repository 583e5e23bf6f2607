"""Turn a recording into a small table of events that can be read, edited and played again."""

__version__ = "0.1.0"
