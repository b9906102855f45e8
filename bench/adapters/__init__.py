"""Adapters against what their frameworks come with: the same work through the same interface, turn about in one run."""

from __future__ import annotations

import argparse
from importlib import import_module
from typing import Final

from bench.report import Report

PARTS: Final = ("langgraph_savers", "mcp_memory", "openai_sessions")


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part (default: all)")
    parser.add_argument("--steps", type=int, default=1_000, help="steps of the growing conversation (default: 1000)")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Run the parts."""
    for part in arguments.part or PARTS:
        import_module(f"bench.adapters.{part}").run(arguments, report)
