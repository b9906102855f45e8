"""Retrieval on LoCoMo (Maharana et al., ACL 2024): the share of a question's evidence turns among the first k results.

The folder has turns.jsonl, questions.jsonl and vectors.npz; it is not part of the project. Each conversation is a
namespace. Its turns are added as they are, `Speaker: text [shared photo: caption]`, with their conversation and the
time of their session, and with the given vectors; what else the search reads of them, their windows and dates, the
daemon makes itself. Every question goes through the client's public search.

Tuned were the five figures that are defaults of the search (the weight of keywords, what neighbours share, the factor
of the speaker, what words of the first results add, what a turn's place and length tell), on all conversations
together, on a grid where neighbouring points differ by about .005. Beside it stands leave-one-conversation-out: the
best point of GRID for the other conversations, measured on the one left out.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from bench.load import throwaway_daemon
from bench.report import Report
from recollectd.client import Client, NewMemory

SPACES: Final = ("turn_date", "window2")
DEPTHS: Final = (5, 10, 20)
_RESULTS: Final = 50
_BATCH: Final = 200
_THREADS: Final = 4
# Four views of equal weight, each normalised over its own best 100: keywords of the dated turn and of the turn with its
# two predecessors, and the given vectors of both. Measured on these conversations outside the daemon.
BASELINE_MULTI_HOP: Final = 0.427
MUST: Final = {
    ("R@10", "hybrid"): ">= 0.81",
    ("R@20", "hybrid"): ">= 0.87",
    ("MRR", "hybrid"): ">= 0.57",
    ("R@10", "keyword"): ">= 0.76",
    ("multi-hop R@10", "hybrid"): f">= {BASELINE_MULTI_HOP + 0.02:.3f}",
}
GRID: Final = tuple(
    {"weight": weight, "neighbours": neighbours, "speaker": speaker, "expansion": expansion, "turns": turns}
    for weight, neighbours, speaker, expansion, turns in itertools.product(
        (2.0, 3.0), (0.0, 0.15), (0.0, 0.2), (0.0, 0.3), (0.0, 0.2)
    )
)


class Question(NamedTuple):
    """One question with the turns that answer it."""

    conversation: str
    text: str
    category: str
    evidence: frozenset[str]
    vector: Any


class Outcome(NamedTuple):
    """How well one question was answered."""

    question: Question
    recall: dict[int, float]
    reciprocal_rank: float


def options(parser: argparse.ArgumentParser) -> None:
    """Declare the bench's options."""
    parser.add_argument("data", type=Path, metavar="FOLDER", help="with turns.jsonl, questions.jsonl and vectors.npz")


def run(arguments: argparse.Namespace, report: Report) -> None:
    """Fill a daemon, ask every question in every mode."""
    vectors = np.load(arguments.data / "vectors.npz")
    questions = _questions(arguments.data / "questions.jsonl", vectors["question"].astype(np.float32))
    with throwaway_daemon(arguments.folder) as daemon, Client(f"unix://{daemon.socket}", name="locomo") as client:
        _fill(client, arguments.data / "turns.jsonl", {name: vectors[name].astype(np.float32) for name in SPACES})
        for mode in ("hybrid", "keyword", "vector"):
            began = time.monotonic()
            outcomes = _ask_all(client, questions, mode)
            report.add(
                "time a question", mode, unit="ms", ours=_THREADS * 1e3 * (time.monotonic() - began) / len(questions)
            )
            _rows(report, mode, outcomes)
        _leave_one_out(report, client, questions)


def _fill(client: Client, path: Path, vectors: dict[str, Any]) -> None:
    turns = [json.loads(line) for line in path.read_text().splitlines()]
    by_conversation: dict[str, list[NewMemory]] = defaultdict(list)
    for row, turn in enumerate(turns):
        caption = turn["photo_caption"]
        by_conversation[turn["conversation"]].append(
            NewMemory(
                f"{turn['speaker']}: {turn['text']}" + (f" [shared photo: {caption}]" if caption else ""),
                turn["turn"],
                conversation_id=turn["conversation"],
                valid_at=datetime.strptime(turn["session_date"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC),
                vectors={name: given[row] for name, given in vectors.items()},
            )
        )
    for conversation, memories in by_conversation.items():
        view = client.with_namespace(conversation)
        for name, given in vectors.items():
            view.vector_spaces.create(name, given.shape[1], precision="f32")
        for start in range(0, len(memories), _BATCH):
            view.memories.add_many(memories[start : start + _BATCH])


def _questions(path: Path, vectors: Any) -> list[Question]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [
        Question(row["conversation"], row["question"], row["category"], frozenset(row["evidence"]), vector)
        for row, vector in zip(rows, vectors, strict=True)
    ]


def _ask_all(client: Client, questions: list[Question], mode: Any, **point: float) -> list[Outcome]:
    def ask(question: Question) -> Outcome:
        told: dict[str, Any] = {name: value for name, value in point.items() if name != "weight"}
        if mode != "vector" and "weight" in point:
            told["weights"] = {"keyword": point["weight"]}
        hits = client.with_namespace(question.conversation).memories.search(
            question.text,
            vectors=None if mode == "keyword" else dict.fromkeys(SPACES, question.vector),
            mode=mode,
            limit=_RESULTS,
            **told,
        )
        found = [hit.memory.memory_id for hit in hits.hits]
        recall = {depth: len(question.evidence & {*found[:depth]}) / len(question.evidence) for depth in DEPTHS}
        ranks = [rank for rank, turn in enumerate(found, 1) if turn in question.evidence]
        return Outcome(question, recall, 1 / ranks[0] if ranks else 0.0)

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(ask, questions))


def _rows(report: Report, mode: str, outcomes: list[Outcome]) -> None:
    for measure, figure in _measures(outcomes).items():
        report.add(measure, mode, ours=figure, must=MUST.get((measure, mode)))
    spread = [_mean(each)[10] for each in _by_conversation(outcomes).values()]
    report.add("R@10, worst conversation", mode, ours=min(spread))
    report.add("R@10, best conversation", mode, ours=max(spread))
    report.add("R@10, standard deviation over conversations", mode, ours=statistics.pstdev(spread))


def _measures(outcomes: list[Outcome]) -> dict[str, float]:
    measures = {f"R@{depth}": figure for depth, figure in _mean(outcomes).items()}
    measures["MRR"] = statistics.mean(outcome.reciprocal_rank for outcome in outcomes)
    for category in sorted({outcome.question.category for outcome in outcomes}):
        measures[f"{category} R@10"] = _mean([each for each in outcomes if each.question.category == category])[10]
    return measures


def _mean(outcomes: list[Outcome]) -> dict[int, float]:
    return {depth: statistics.mean(outcome.recall[depth] for outcome in outcomes) for depth in DEPTHS}


def _by_conversation(outcomes: list[Outcome]) -> dict[str, list[Outcome]]:
    grouped: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.question.conversation].append(outcome)
    return grouped


def _leave_one_out(report: Report, client: Client, questions: list[Question]) -> None:
    """For each conversation choose the point of GRID that is best for the others, and measure it there."""
    points = [_by_conversation(_ask_all(client, questions, "hybrid", **point)) for point in GRID]
    held_out: list[Outcome] = []
    for conversation in points[0]:
        others = [
            statistics.mean(
                outcome.recall[10] for name, each in point.items() if name != conversation for outcome in each
            )
            for point in points
        ]
        held_out += points[others.index(max(others))][conversation]
    for measure, figure in _measures(held_out).items():
        report.add(measure, "hybrid, leave one conversation out", ours=figure)
