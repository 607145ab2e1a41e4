"""Evaluation by size: protocols, two engines behind one call, results as values, JSON and tables."""

from lib.evaluation.evaluator import Evaluator, evaluate
from lib.evaluation.protocols import PROTOCOLS, Protocol, make_protocol
from lib.evaluation.result import Result

__all__ = ["PROTOCOLS", "Evaluator", "Protocol", "Result", "evaluate", "make_protocol"]
