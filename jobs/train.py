"""The training as a Ray job: `ray job submit --working-dir . … -- python jobs/train.py train.yaml`.

It takes the arguments of `fakescan train`. Inside a job RAY_ADDRESS names the cluster. Stopping the job leaves a run
that the same submission resumes from its last checkpoint.
"""

import sys

from fakescan.cli.main import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
