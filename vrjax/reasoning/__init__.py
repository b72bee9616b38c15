"""What papers do with a trajectory. Import the submodule you need.

| room | what is in it |
| --- | --- |
| `instruments` | looking into a run and intervening in it (Chain-of-Steps) |
| `thoughts` | visual thoughts and who thinks them (VChain) |
"""

from vrjax.files import named

__getattr__, __dir__ = named.lazy(__name__)
