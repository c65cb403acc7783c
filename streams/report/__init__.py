"""The page of a run: its products, its timeline, and what was recovered of a simulation's truth."""

from streams.report.page import ReportRequest, write_report
from streams.report.recovery import Check

__all__ = ["Check", "ReportRequest", "write_report"]
