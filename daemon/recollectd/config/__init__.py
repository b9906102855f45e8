"""The daemon's options: declared in `options`, read by `load`, explained by `template`. Nothing else reads them."""

from recollectd.config.addresses import parse_address
from recollectd.config.declare import Option
from recollectd.config.loading import ConfigError, load, origin_of, value_of
from recollectd.config.serving import DataOptions, ListenOptions, ServerOptions
from recollectd.config.storing import HistoryOptions, JournalOptions, RecordsOptions, ShardsOptions
from recollectd.config.template import template
from recollectd.config.tree import OPTION_BY_PATH, OPTIONS, Config

__all__ = [
    "OPTIONS",
    "OPTION_BY_PATH",
    "Config",
    "ConfigError",
    "DataOptions",
    "HistoryOptions",
    "JournalOptions",
    "ListenOptions",
    "Option",
    "RecordsOptions",
    "ServerOptions",
    "ShardsOptions",
    "load",
    "origin_of",
    "parse_address",
    "template",
    "value_of",
]
