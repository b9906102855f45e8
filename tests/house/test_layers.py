"""Layers import downwards only, and a client stays light."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from support.source_tree import PACKAGE, Import, files, imports, module_name, shown, tree_of

# What each layer may import of the layers; itself always. The client stands beside the daemon's layers, not in them.
OPTIONS: Final = ("protocol", "config", "topology", "sizing")
DAEMON: Final = (*OPTIONS, "_native", "journal", "storage", "memory", "server")
LAYERS: Final[dict[str, tuple[str, ...]]] = {
    "protocol": (),
    "client": ("protocol",),
    "config": ("protocol",),
    "topology": (),
    "sizing": ("config", "topology"),
    "_native": (),
    "journal": (*OPTIONS, "_native"),
    "storage": (*OPTIONS, "_native", "journal"),
    "memory": (*OPTIONS, "_native", "journal", "storage"),
    "server": DAEMON,
    "testing": ("protocol", "config", "client"),
    "adapters": ("protocol", "client"),
    "cli": (*DAEMON, "client", "adapters"),
    "__main__": ("cli",),
    "": (),
}

# What each layer may import of other distributions.
OTHERS: Final[dict[str, tuple[str, ...]]] = {
    "protocol": ("msgspec",),
    "client": ("msgspec",),
    "config": ("msgspec",),
    "_native": ("typing_extensions",),  # in stubs, which nobody runs
    "journal": ("msgspec", "zstandard"),
    "storage": ("msgspec", "numpy", "rocksdict", "Stemmer", "usearch"),
    "memory": ("msgspec",),
    "server": ("msgspec", "uvloop", "psutil"),
    "testing": ("msgspec", "pytest"),
    "cli": ("msgspec", "click", "numpy"),  # numpy: for vectors beside lines, by modules that are imported for these
}

# And each adapter, beside msgspec: the framework it is for, whose extra it needs.
ADAPTERS: Final[dict[str, tuple[str, ...]]] = {
    "google_adk": ("google", "pydantic", "pydantic_core"),
    "langchain": ("langchain_core", "pydantic"),
    "langgraph": ("langgraph", "langchain_core"),
    "mcp": ("mcp", "mcp_types", "uvicorn", "uvloop"),
    "openai_agents": ("agents",),
    "pydantic_ai": ("pydantic_ai", "pydantic", "pydantic_core"),
}

# Imports inside functions hide how modules hang together, so each is named: (module, imported layer or distribution).
# The command line may do it anywhere: a command imports what it needs when it runs, or `ping` would load the daemon.
LAZY: Final = {
    ("recollectd.client.blocking.client", "client"),  # what starts a daemon is loaded by `Client.local` alone
    ("recollectd.client.aio.client", "client"),
    ("recollectd.adapters.mcp.server", "uvicorn"),  # who serves on stdio needs no HTTP server
}
LAZY_LAYERS: Final = ("cli", "__main__")

HEAVY: Final = ("uvloop", "rocksdict", "numpy", "zstandard", "psutil", "click", "usearch", "Stemmer")
BELOW: Final = ("config", "topology", "sizing", "_native", "journal", "storage", "memory", "server", "adapters", "cli")


def layer_of(module: str) -> str:
    """Return the layer of `recollectd.<layer>.…`."""
    return [*module.split("."), ""][1]


def adapter_of(module: str) -> str:
    """Return the adapter of `recollectd.adapters.<adapter>.…`, "" for what is no adapter's."""
    return [*module.split("."), "", ""][2] if layer_of(module) == "adapters" else ""


def others_of(module: str) -> tuple[str, ...]:
    """Return which other distributions a module may import."""
    adapter = adapter_of(module)
    return ("msgspec", *ADAPTERS.get(adapter, ())) if adapter else OTHERS.get(layer_of(module), ())


def breaches(module: str, imported: list[Import]) -> Iterator[str]:
    layer = layer_of(module)
    for one in imported:
        top, _, _ = one.name.partition(".")
        target = layer_of(one.name) if top == "recollectd" else top
        if top == "recollectd":
            known = target in LAYERS
            allowed = target in ("", layer, *LAYERS.get(layer, ())) or not known  # the version lies in no layer
            foreign = adapter_of(one.name) in ADAPTERS and adapter_of(one.name) != adapter_of(module)
            allowed = allowed and not (foreign and layer == "adapters")
        else:
            allowed = top in sys.stdlib_module_names or top in others_of(module)
        if not allowed:
            yield f"{module} may not import {one.name}"
        named = layer in LAZY_LAYERS or (module, target) in LAZY or top in sys.stdlib_module_names
        if one.lazy and not named:
            yield f"{module} imports {one.name} inside a function"


def test_layers_import_downwards() -> None:
    found = [
        breach
        for path in files(".py", ".pyi", below=PACKAGE)
        for breach in breaches(module_name(path), list(imports(tree_of(path))))
    ]
    assert found == []


def test_every_module_lies_in_a_layer() -> None:
    assert [shown(path) for path in files(".py", below=PACKAGE) if layer_of(module_name(path)) not in LAYERS] == []


def test_the_lazy_imports_exist() -> None:
    made = {
        (module_name(path), layer_of(one.name) if one.name.startswith("recollectd.") else one.name.partition(".")[0])
        for path in files(".py", below=PACKAGE)
        for one in imports(tree_of(path))
        if one.lazy
    }
    assert made >= LAZY


@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("recollectd.protocol.x", Import("recollectd.client.core", False, False)),
        ("recollectd.client.x", Import("recollectd.config.options", False, False)),
        ("recollectd.client.x", Import("numpy.array", False, False)),
        ("recollectd.journal.x", Import("recollectd.storage.engine", False, False)),
        ("recollectd.storage.x", Import("uvloop.run", False, False)),
        ("recollectd.server.x", Import("recollectd.cli.main", False, False)),
        ("recollectd.server.x", Import("recollectd.memory.registry", True, False)),
        ("recollectd.protocol.x", Import("recollectd.client.core", False, True)),
        ("recollectd.client.x", Import("recollectd.adapters.langgraph", False, False)),
        ("recollectd.adapters.other.x", Import("recollectd.adapters.langgraph.saver", False, False)),
        ("recollectd.adapters.langgraph.x", Import("recollectd.storage.engine", False, False)),
        ("recollectd.adapters.langgraph.x", Import("numpy.array", False, False)),
    ],
)
def test_breaches_are_found(module: str, imported: Import) -> None:
    assert len(list(breaches(module, [imported]))) == 1


NO_LOOP: Final = ("asyncio", "socket", "selectors", "uvloop")


@pytest.mark.parametrize("layer", ["protocol", "journal", "storage", "memory"])
def test_lower_layers_know_no_sockets_and_no_loop(layer: str) -> None:
    found = [
        f"{shown(path)}: {one.name}"
        for path in files(".py", below=PACKAGE / layer)
        for one in imports(tree_of(path))
        if one.name.partition(".")[0] in NO_LOOP
    ]
    assert found == []


def loaded_by(module: str) -> list[str]:
    """Return the modules that a fresh interpreter has loaded after importing this one."""
    program = f"import json, sys; import {module}; print(json.dumps(sorted(sys.modules)))"
    environment = {"PYTHONPATH": str(PACKAGE.parent), "PATH": str(Path(sys.executable).parent)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment, timeout=60
    )
    loaded: list[str] = json.loads(done.stdout)
    return loaded


@pytest.mark.parametrize("module", ["recollectd", "recollectd.protocol.table", "recollectd.client"])
def test_a_client_loads_nothing_heavy(module: str) -> None:
    loaded = loaded_by(module)
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []
    assert [name for name in loaded if name.startswith("recollectd.") and layer_of(name) in BELOW] == []


def test_the_package_of_adapters_loads_none() -> None:
    loaded = loaded_by("recollectd.adapters")
    assert [name for name in loaded if name.startswith("recollectd.")] == ["recollectd.adapters"]
    assert [name for name in loaded if name.partition(".")[0] in {"msgspec", *sum(ADAPTERS.values(), ())}] == []


def test_every_adapter_is_in_the_table() -> None:
    folders = {path.name for path in (PACKAGE / "adapters").iterdir() if (path / "__init__.py").exists()}
    assert folders == set(ADAPTERS)


def test_the_package_itself_loads_nothing() -> None:
    ours = [name for name in loaded_by("recollectd") if name.startswith(("recollectd", "msgspec"))]
    assert ours == ["recollectd"]
