"""The scan as a Ray job: `ray job submit --working-dir . … -- python jobs/scan.py --config scan.yaml`.

It takes the arguments of `fakescan scan`: a YAML file, flags, or both. Inside a job RAY_ADDRESS names the cluster.
Stopping the job leaves a run that the same submission resumes.
"""

import sys

from fakescan.cli.main import main

if __name__ == "__main__":
    main(["scan", *sys.argv[1:]])
