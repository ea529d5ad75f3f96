"""The strict configuration of a run: its sections, one file a group, and how files and overrides become one.

May import `plan` and `errors`. Only `cli`, `training` and `doctor` import it: the rest takes plain arguments.
"""

from partialfc.config.load import config_schema, dump_config, load_config, parse_config
from partialfc.config.sections import Config

__all__ = ["Config", "config_schema", "dump_config", "load_config", "parse_config"]
