"""The stages of the road: what each reads, which steps it runs, and what it makes."""

from streams.stages.stage import Stage, fuse
from streams.stages.table import STAGES, next_stage, stage_named

__all__ = ["STAGES", "Stage", "fuse", "next_stage", "stage_named"]
