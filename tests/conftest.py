"""One thread of arithmetic: the tests' tensors are small, and on shared cores more threads wait for each other."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by torch when it is first imported, here and in child processes
