"""Reading and writing: audio files and events files. Nothing differentiable, no torch."""
