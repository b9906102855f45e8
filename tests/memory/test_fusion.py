"""What stands beside the arms: neighbours, speakers and turns of a conversation, each as its formula says."""

from __future__ import annotations

import pytest

from recollectd.memory.memories import fusion
from recollectd.memory.memories.fetching import Found
from recollectd.memory.memories.filters import Subject
from recollectd.memory.memories.fusion import Candidate
from recollectd.memory.memories.heads import MemoryBody, MemoryHead
from recollectd.protocol.messages.memories import MemorySearch

HOUR_US = 3_600_000_000
LONG = "We hiked to the old lighthouse with both dogs and stayed for the sunset."


def subject(text: str, role: str = "", valid_at: int = 0, thread: str = "talk", position: int = 0) -> Subject:
    head = MemoryHead(1, 1, 1, 0, 0, thread=thread, position=position)
    return Subject(str(position), head, MemoryBody(text=text, valid_at=valid_at), role)


def weighed(*said: Subject, query: str = "dogs", scores: tuple[float, ...] = (), **told: float) -> list[Candidate]:
    """Return candidates with scores of 1, or those given, after all factors but the ones told are off."""
    candidates = {}
    for number, each in enumerate(said):
        candidate = candidates[b"%d" % number] = Candidate(Found(b"%d" % number, each))
        candidate.score = scores[number] if scores else 1.0
    off = {"neighbours": 0.0, "speaker": 0.0, "turns": 0.0}
    fusion.apply_factors(candidates, MemorySearch(("n",), query, **{**off, **told}), 0)  # type: ignore[arg-type]
    return list(candidates.values())


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("Did you see them?", True),
        ("Ada: Did you see them? 😊", True),
        ("Really?! ", True),
        ('She said "really?"', True),
        ("Where is it? [shared photo: a lighthouse at dusk]", True),
        ("見ましたか？", True),
        ("هل رأيتهم؟", True),
        ("I saw them.", False),
        ("Did you? I did.", False),
        ("I saw them. [shared photo: what is it?]", False),
        ("[what is it?]", False),
        ("]", False),
        ("", False),
        ("?" * 100_000 + "a", False),
    ],
)
def test_a_question_is_told_by_its_end(text: str, asks: bool) -> None:
    assert subject(text).asks is asks


def test_neighbours_share_their_scores_within_a_sitting() -> None:
    said = [subject("a", position=0), subject("b", position=1), subject("c", position=2, valid_at=7 * HOUR_US)]
    first, second, later = weighed(*said, scores=(1.0, 0.5, 0.8), neighbours=0.1)
    assert [each.neighbours for each in (first, second, later)] == pytest.approx([0.05, 0.1, 0.0])
    assert [each.score for each in (first, second, later)] == pytest.approx([1.05, 0.6, 0.8])


def test_other_conversations_are_no_neighbours() -> None:
    apart = [subject("a"), subject("b", thread="other", position=1), subject("c", thread="", position=1)]
    assert [each.score for each in weighed(*apart, neighbours=0.5, turns=0.0)] == [1.0, 1.0, 1.0]


def test_what_answers_a_question_gets_part_of_its_score_besides() -> None:
    question, answer = subject("Ada: Any dogs?", position=0), subject("Bo: Two of them", position=1)
    asked, answered = weighed(question, answer, scores=(0.8, 0.2), neighbours=0.1, turns=0.2)
    assert answered.neighbours == pytest.approx(0.3 * 0.8)
    assert asked.neighbours == pytest.approx(0.1 * 0.2)
    (_, alone) = weighed(question, answer, scores=(0.8, 0.2), turns=0.2)
    assert alone.neighbours == pytest.approx(0.2 * 0.8)


@pytest.mark.parametrize(
    ("before", "behind"),
    [
        (subject("Ada: Any dogs?"), subject("Ada: I have two", position=1)),
        (subject("Any dogs?", "user"), subject("I have two", "user", position=1)),
        (subject("Ada: Dogs."), subject("Bo: Two", position=1)),
        (subject("Ada: Any dogs?"), subject("Bo: Two", position=2)),
        (subject("Ada: Any dogs?"), subject("Bo: Two", valid_at=7 * HOUR_US, position=1)),
    ],
    ids=["the same speaker", "the same role", "no question", "not next to it", "another sitting"],
)
def test_what_is_no_answer_gets_nothing(before: Subject, behind: Subject) -> None:
    assert weighed(before, behind, turns=0.2)[1].neighbours == 0.0


def test_roles_tell_voices_apart_and_unknown_ones_may_answer() -> None:
    for before, behind in (
        (subject("Any dogs?", "user"), subject("Two", "assistant", position=1)),
        (subject("Any dogs?"), subject("Two", position=1)),
    ):
        assert weighed(before, behind, turns=0.2)[1].neighbours == pytest.approx(0.2)


def test_a_turn_that_asks_or_says_little_counts_less() -> None:
    texts = (LONG, "Thanks!", "x" * 10_000, LONG[:-1] + "?")
    said = [subject(text, position=10 * number) for number, text in enumerate(texts)]
    mean = sum(map(len, texts)) / len(texts)
    told, thanked, endless, asked = weighed(*said, turns=0.2)
    assert told.turn == pytest.approx((len(LONG) / mean) ** 0.2)
    assert thanked.turn == pytest.approx((len("Thanks!") / mean) ** 0.2)
    assert endless.turn == pytest.approx(3**0.2)  # and no more, however long it is
    assert asked.turn == pytest.approx(told.turn * 0.9)
    assert [each.score for each in (told, thanked)] == [told.turn, thanked.turn]


@pytest.mark.parametrize("others", [(), (subject("", position=5),), (subject(LONG, position=5),)])
def test_a_turn_whose_text_is_kept_elsewhere_is_one_of_mean_length(others: tuple[Subject, ...]) -> None:
    assert [each.turn for each in weighed(subject(""), *others, turns=0.2)] == [1.0] * (1 + len(others))


def test_memories_outside_conversations_are_no_turns() -> None:
    alone = [subject("Thanks!", thread=""), subject(LONG + "?", thread="", position=1)]
    assert [(each.turn, each.score) for each in weighed(*alone, turns=1.0)] == [(1.0, 1.0), (1.0, 1.0)]


def test_what_the_one_named_said_counts_more() -> None:
    said = [subject("Ada: dogs"), subject("Bo: dogs", position=5)]
    assert [each.speaker for each in weighed(*said, query="What did Ada do?", speaker=0.2)] == [1.2, 1.0]
    assert [each.speaker for each in weighed(*said, query="Did Ada meet Bo?", speaker=0.2)] == [1.0, 1.0]
