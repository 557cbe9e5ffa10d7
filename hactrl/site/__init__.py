"""The site file: one YAML file that describes a whole site.

`load` reads and checks it; `SiteError` says all that is wrong with it.
"""

from hactrl.site.dump import dumps
from hactrl.site.errors import Problem, SiteError
from hactrl.site.reader import load, loads

__all__ = ["Problem", "SiteError", "dumps", "load", "loads"]
