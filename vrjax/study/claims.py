"""What studies say of their claims at the end of a run. (Claims themselves: `vrjax.report.claims`.)"""

from collections.abc import Iterable

from rich.console import Console

from vrjax.report.claims import Claim


def tell(console: Console, found: Iterable[Claim]) -> None:
    """One line a claim: estimate, interval, how many, verdict."""
    for row in found:
        low, high = row.interval
        number = f"{row.estimate:+.3f} [{low:+.3f}, {high:+.3f}]"
        console.print(f"  {row.id:<32} {number:<28} n={row.n:<6} {row.verdict}", highlight=False, soft_wrap=True)
