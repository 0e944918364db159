"""The nightly scan as a Ray job: `ray job submit --working-dir . … -- python jobs/nightly.py SOURCE RUNS …`.

It takes the arguments of `fakescan nightly`. Inside a job RAY_ADDRESS names the cluster. The same submission on the
same day resumes.
"""

import sys

from fakescan.cli.main import main

if __name__ == "__main__":
    main(["nightly", *sys.argv[1:]])
