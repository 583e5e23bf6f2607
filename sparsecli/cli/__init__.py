"""The program `sparse`: one thin file a command."""
