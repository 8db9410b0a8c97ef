"""The settings. Flags, environment variables, keys of files and the reference are generated from one table."""

from jobfleet.config.layers import OTHER_VARIABLES, Loaded, load
from jobfleet.config.machine import default_processes, processors
from jobfleet.config.setting import Duration, Scope, Setting
from jobfleet.config.table import SETTINGS, JobConfig
from jobfleet.config.url import SCHEMES, check_url, mask_url

__all__ = [
    "OTHER_VARIABLES",
    "SCHEMES",
    "SETTINGS",
    "Duration",
    "JobConfig",
    "Loaded",
    "Scope",
    "Setting",
    "check_url",
    "default_processes",
    "load",
    "mask_url",
    "processors",
]
