"""Running registrations outside the calling process. Importing this loads no torch: the Slicer application
uses it.

folder = JobFolder.create()
folder.write_problem({"method": "convex-adam", "inputs": {"fixed": ..., "moving": ...}})
job = Runner().submit(folder)
for event in job.poll(): ...
"""

from .events import Event
from .folder import JobFolder
from .results import ResultFolder
from .runner import Runner, RunningJob

__all__ = ["Event", "JobFolder", "ResultFolder", "Runner", "RunningJob"]
