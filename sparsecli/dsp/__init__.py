"""Small pure signal functions: resampling, filter banks, metrics. Nothing here opens a file."""
