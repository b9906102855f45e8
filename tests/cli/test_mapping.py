"""Lines of other programs: in by a mapping, and out again by the same one, equal to what they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recollectd.cli.transfer.exporting_mapped import line_text
from recollectd.cli.transfer.failures import DataError
from recollectd.cli.transfer.foreign import ConversationMapping, ConversationRules
from recollectd.cli.transfer.lines import ConversationLine, MessageLine
from recollectd.cli.transfer.mapping import MappingError, read_object
from recollectd.cli.transfer.roles import parse_roles
from support.command_line import Run
from support.fake_client import FakeClient
from support.fake_store import FakeStore

# A made-up file of the shape that conversation data sets have.
SPOKEN = [
    "--as",
    "conversation",
    "--map",
    "conversation_id=talk",
    "--map",
    "message_id=turn",
    "--map",
    "content=text",
    "--map",
    "role=speaker",
    "--roles",
    "first-speaker",
    "--map",
    "valid_at=when",
    "--map",
    "metadata.speaker=speaker",
    "--map",
    "metadata.session=session",
]
FORMAT = ("--time-format", "%I:%M %p on %d %B, %Y")


def spoken(talk: str, number: int, speaker: str, **more: Any) -> dict[str, Any]:
    return {
        "talk": talk,
        "turn": f"D1:{number}",
        "session": "session_1",
        "when": "1:56 pm on 8 May, 2023",
        "speaker": speaker,
        "text": f"turn {number} of {speaker} ✓",
        "photo": None if number % 3 else "a photo of a boat",
        **more,
    }


SOURCE = [
    *(spoken("talk-9", number, ("Ida", "Max")[number % 2]) for number in range(11)),
    *(spoken("talk-1", number, ("Max", "Eva")[number // 2 % 2]) for number in range(9)),
]


def write(path: Path, lines: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_conversation_file_goes_in_and_comes_back_equal(run: Run, tmp_path: Path, client: FakeClient) -> None:
    source = write(tmp_path / "turns.jsonl", SOURCE)
    report = run("import", source, *SPOKEN, *FORMAT, "--keep-rest", "--json").json()
    assert report["added"] == {"conversation": 2, "message": 20}
    history = client.conversations.history("talk-9")
    assert [message.role for message in history.messages[:3]] == ["user", "assistant", "user"]
    first = history.messages[0]
    assert first.valid_at == "2023-05-08T13:56:00.000000Z"
    assert first.metadata == {
        "speaker": "Ida",
        "session": "session_1",
        "when": "1:56 pm on 8 May, 2023",
        "photo": "a photo of a boat",
    }
    again = run("import", source, *SPOKEN, *FORMAT, "--keep-rest", "--json").json()
    assert again["there_already"] == {"conversation": 2, "message": 20}
    run("export", tmp_path / "out.jsonl", *SPOKEN, *FORMAT, "--keep-rest")
    assert read(tmp_path / "out.jsonl") == SOURCE


@pytest.mark.parametrize("fail_at", range(1, 6))
def test_cut_off_and_run_again_it_still_comes_back_equal(
    run: Run, store: FakeStore, tmp_path: Path, fail_at: int
) -> None:
    source = write(tmp_path / "turns.jsonl", SOURCE)
    store.fail_at = fail_at
    run("import", source, *SPOKEN, *FORMAT, "--keep-rest", code=75)
    store.fail_at = 0
    run("import", source, *SPOKEN, *FORMAT, "--keep-rest")
    run("export", tmp_path / "out.jsonl", *SPOKEN, *FORMAT, "--keep-rest")
    assert read(tmp_path / "out.jsonl") == SOURCE


def test_what_is_not_mapped_is_left_out_and_told(run: Run, tmp_path: Path) -> None:
    source = write(tmp_path / "turns.jsonl", SOURCE)
    assert "left out: photo (--keep-rest" in run("import", source, *SPOKEN, *FORMAT).err
    run("export", tmp_path / "out.jsonl", *SPOKEN, *FORMAT)
    assert read(tmp_path / "out.jsonl") == [{k: v for k, v in line.items() if k != "photo"} for line in SOURCE]


def test_a_third_speaker_is_refused_by_line(run: Run, tmp_path: Path) -> None:
    lines = [spoken("t", 1, "Ida"), spoken("u", 1, "Max"), spoken("t", 2, "Max"), spoken("t", 3, "Eva")]
    ended = run("import", write(tmp_path / "turns.jsonl", lines), *SPOKEN, *FORMAT, "--keep-rest", code=65)
    assert "line 4: 'Eva' is a third speaker of conversation 't', after 'Ida' and 'Max'" in ended.err


def test_a_later_file_knows_who_was_the_user(run: Run, tmp_path: Path, client: FakeClient) -> None:
    first = write(tmp_path / "1.jsonl", [spoken("t", 1, "Ida"), spoken("t", 2, "Max")])
    second = write(tmp_path / "2.jsonl", [spoken("t", 3, "Max"), spoken("t", 4, "Ida")])
    for file in (first, second):
        run("import", file, *SPOKEN, *FORMAT, "--keep-rest")
    roles = [message.role for message in client.conversations.history("t").messages]
    assert roles == ["user", "assistant", "assistant", "user"]


def test_empty_text_is_refused_or_stands_in(run: Run, tmp_path: Path, client: FakeClient) -> None:
    lines = [spoken("t", 1, "Ida"), spoken("t", 2, "Max", text=""), spoken("t", 3, "Max", text=None)]
    source = write(tmp_path / "turns.jsonl", lines)
    assert "line 2: the content is empty" in run("import", source, *SPOKEN, *FORMAT, "--keep-rest", code=65).err
    options = (*SPOKEN, *FORMAT, "--keep-rest", "--empty-content", "(nothing)")
    run("import", source, *options)
    assert [message.content for message in client.conversations.history("t").messages][1:] == ["(nothing)"] * 2
    run("export", tmp_path / "out.jsonl", *options)
    assert read(tmp_path / "out.jsonl") == lines


def test_interleaved_lines_come_back_in_their_order_by_number(run: Run, tmp_path: Path) -> None:
    lines = [spoken(f"t{number % 4}", number, "Ida") for number in range(40)]
    source = write(tmp_path / "turns.jsonl", lines)
    options = (*SPOKEN, *FORMAT, "--keep-rest", "--map", "metadata.line=#")
    run("import", source, *options)
    run("export", tmp_path / "out.jsonl", *options)
    assert read(tmp_path / "out.jsonl") == lines


def test_lines_without_ids(run: Run, tmp_path: Path, client: FakeClient) -> None:
    lines = [{"from": "human", "say": "hi"}, {"from": "bot", "say": "hello"}, {"from": "human", "say": "hi"}]
    source = write(tmp_path / "chat.jsonl", lines)
    options = [
        "--as",
        "conversation",
        "--map",
        "conversation_id==chat",
        "--map",
        "role=from",
        "--map",
        "content=say",
        "--roles",
        "human=user,bot=assistant",
    ]
    run("import", source, *options)
    run("import", source, *options)
    messages = client.conversations.history("chat").messages
    assert [(message.role, message.content) for message in messages] == [
        ("user", "hi"),
        ("assistant", "hello"),
        ("user", "hi"),
    ]
    run("export", tmp_path / "out.jsonl", *options)
    assert read(tmp_path / "out.jsonl") == lines
    renamed = source.rename(tmp_path / "other.jsonl")
    assert run("import", renamed, *options, "--source", "chat.jsonl", "--json").json()["added"] == {"message": 0}


def test_lines_known_by_a_field(run: Run, tmp_path: Path, client: FakeClient) -> None:
    options = [
        "--as",
        "conversation",
        "--map",
        "conversation_id==c",
        "--map",
        "role==user",
        "--map",
        "content=say",
        "--id-field",
        "id",
    ]
    run("import", write(tmp_path / "1", [{"id": 7, "say": "a"}]), *options, "--source", "s")
    run("import", write(tmp_path / "2", [{"id": 6, "say": "b"}, {"id": 7, "say": "a"}]), *options, "--source", "s")
    assert [message.content for message in client.conversations.history("c").messages] == ["a", "b"]
    ended = run("import", write(tmp_path / "3", [{"say": "c"}]), *options, code=65)
    assert "no 'id' to identify the line by" in ended.err


def test_states_and_logs_of_other_programs(run: Run, tmp_path: Path, client: FakeClient) -> None:
    lines = [{"id": number, "name": f"n{number}", "big": 2**60, "x": 1.5} for number in range(12)]
    source = write(tmp_path / "rows.jsonl", lines)
    run("import", source, "--as", "state", "--map", "key=id")
    run("import", source, "--as", "log", "--map", "log_id==rows")
    assert client.state.get_many(["7"])["7"].value == lines[7]
    assert run("import", source, "--as", "log", "--map", "log_id==rows", "--json").json()["added"] == {}
    run("export", tmp_path / "states.jsonl", "--as", "state", "--map", "key=id")
    assert sorted(read(tmp_path / "states.jsonl"), key=lambda line: int(line["id"])) == lines
    run("export", tmp_path / "log.jsonl", "--as", "log", "--map", "log_id==rows")
    assert read(tmp_path / "log.jsonl") == lines


def test_a_value_of_its_own(run: Run, tmp_path: Path) -> None:
    lines = [{"name": f"n{number}", "value": [number]} for number in range(12)]
    source = write(tmp_path / "rows.jsonl", [{**line, "more": 1} for line in lines])
    options = ["--as", "state", "--map", "key=name", "--map", "value=value"]
    assert "left out: more" in run("import", source, *options).err
    run("export", tmp_path / "out.jsonl", *options)
    assert read(tmp_path / "out.jsonl") == sorted(lines, key=lambda line: str(line["name"]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--map key=id", "goes with --as"),
        ("--keep-rest", "go with --as conversation"),
        ("--as state --map key=id --roles first-speaker", "go with --as conversation"),
        ("--as state", "nothing is mapped to key"),
        ("--as conversation --map conversation_id=c --map role=r", "nothing is mapped to content"),
        ("--as state --map key", "expected TARGET=FIELD"),
        ("--as state --map key=a --map key=b", "key is mapped twice"),
        ("--as state --map name=a", "'name' is not among the targets key, value"),
        ("--as state --map metadata.x=a", "not among the targets"),
        ("--as conversation --map metadata=a", "metadata.NAME"),
        ("--as conversation --map conversation_id=c --map role=r --map content=t --roles user", "expected as-is"),
        (
            "--as conversation --map conversation_id=c --map role=r --map content=t --map message_id=i --id-field i",
            "--id-field is for lines without one",
        ),
    ],
)
def test_mappings_that_are_none(run: Run, tmp_path: Path, options: str, said: str) -> None:
    ended = run("import", write(tmp_path / "x", [{}]), *options.split(), code=64)
    assert said in ended.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"talk": ""}, "conversation_id must be text"),
        ({"talk": True}, "conversation_id must be text"),
        ({"turn": None}, "message_id must be text"),
        ({"text": 5}, "the content must be text"),
        ({"speaker": None}, "the speaker is None"),
        ({"when": "yesterday"}, "does not match format"),
        ({"when": "1:56 pm on 8 May, 1923"}, "before 1970"),
        ({"photo": 2**64}, "does not fit 64 bits"),
    ],
)
def test_lines_that_do_not_fit_the_mapping(run: Run, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    lines = [spoken("t", 1, "Ida"), spoken("t", 2, "Ida") | change]
    ended = run("import", write(tmp_path / "x", lines), *SPOKEN, *FORMAT, "--keep-rest", code=65)
    assert "line 2: " in ended.err
    assert said in ended.err


def test_two_fields_cannot_share_a_name_in_the_metadata() -> None:
    mapping = _mapping("metadata.when=session")
    with pytest.raises(DataError, match=r"metadata\.when would have to hold two fields"):
        mapping.read(1, spoken("t", 1, "Ida"))


def _mapping(*more: str) -> ConversationMapping:
    pairs = ["conversation_id=talk", "message_id=turn", "content=text", "role=speaker", "valid_at=when", *more]
    roles = parse_roles("first-speaker", lambda conversation_id: None)
    return ConversationMapping(pairs, ConversationRules("s", roles, FORMAT[1], keep_rest=True, empty_content="-"))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
REST = ("photo", "", "metadata", "metadata.x", "$bytes")


@given(
    st.fixed_dictionaries(
        {
            "talk": st.text(min_size=1) | st.integers(0, 99),
            "turn": st.text(min_size=1) | st.integers(0, 99),
            "text": st.text() | st.none(),
            "speaker": st.text(min_size=1),
        },
        optional={"when": st.none() | st.just("1:56 pm on 8 May, 2023"), **{name: JSON for name in REST}},
    ),
    st.sampled_from([(), ("metadata.speaker=speaker",), ("metadata.n=#", "metadata.q==q")]),
)
def test_any_line_comes_back_equal(line: dict[str, Any], more: tuple[str, ...]) -> None:
    mapping = _mapping(*more)
    conversation, message = mapping.read(3, read_object(3, json.dumps(line).encode()))
    assert isinstance(conversation, ConversationLine)
    assert isinstance(message, MessageLine)
    text = line_text(_mapping(*more).write(message))
    assert json.dumps(json.loads(text), sort_keys=True) == json.dumps(line, sort_keys=True)


def test_mapping_errors_are_values() -> None:
    with pytest.raises(MappingError):
        _mapping("content=other")
