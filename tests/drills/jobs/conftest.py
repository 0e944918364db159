"""The head and the images of the tests of jobs."""

from tests.jobs.conftest import images, jobs

__all__ = ["images", "jobs"]
