import subprocess
import sys


def test_reading_and_writing_need_no_heavy_library():
    program = (
        "import sys, sparsecli.io.audio, sparsecli.io.events_file;"
        "print({'torch', 'librosa', 'scipy', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "set()\n"
