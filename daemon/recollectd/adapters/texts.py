"""JSON as text, where a framework's own stores keep JSON: what comes back is what theirs give back."""

from __future__ import annotations

import json


def json_text(content: object) -> str:
    """Return a value as JSON, readable where it can be. Raises what `json.dumps` raises: TypeError, ValueError."""
    text = json.dumps(content, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # half an emoji, as models cut them: only JSON's own escapes can carry it
        return json.dumps(content)
    return text
