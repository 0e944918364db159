"""The evaluation as a Ray job: `ray job submit --working-dir . … -- python jobs/evaluate.py --data … --output …`.

It takes the arguments of `fakescan evaluate`. Inside a job RAY_ADDRESS names the cluster. Stopping the job leaves an
evaluation that the same submission resumes.
"""

import sys

from fakescan.cli.main import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
