"""The nouns of Engram: frozen records that any layer may hold, and that import numpy and nothing heavier."""

from engram.records.certificate import Certificate, Difference
from engram.records.checkpoint import Checkpoint, TrainingState
from engram.records.dataset import Column, Dataset, Part
from engram.records.limits import Limits
from engram.records.model import Model
from engram.records.pipeline import Pipeline
from engram.records.prediction import Prediction
from engram.records.progress import Progress, Watch
from engram.records.report import Curve, Gap, Importance, Picture, Report, Score, Weak
from engram.records.task import Task
from engram.records.tensors import Signature, TensorSpec
from engram.records.version import Gate, Move, Run, Version

__all__ = [
    "Certificate",
    "Checkpoint",
    "Column",
    "Curve",
    "Dataset",
    "Difference",
    "Gap",
    "Gate",
    "Importance",
    "Limits",
    "Model",
    "Move",
    "Part",
    "Picture",
    "Pipeline",
    "Prediction",
    "Progress",
    "Report",
    "Run",
    "Score",
    "Signature",
    "Task",
    "TensorSpec",
    "TrainingState",
    "Version",
    "Watch",
    "Weak",
]
