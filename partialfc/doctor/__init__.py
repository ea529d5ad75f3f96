"""The check before a job: is everything in place, and will it run as fast as it can? A file for each subject.

May import everything but `cli` and `suggest`, which alone import it.
"""

from partialfc.doctor.check import Check, Finding, Level, Report
from partialfc.doctor.examine import examine
from partialfc.doctor.lines import describe, to_dict

__all__ = ["Check", "Finding", "Level", "Report", "describe", "examine", "to_dict"]
