"""Who looks at the rows of a run while it goes: nothing to say about plain training; see `vrjax.align.logs.Watch`."""


class Watch:
    """Looks at every update of a run, one after the other."""

    def see(self, step: int, row: dict[str, float]) -> str | None:
        """Takes one update's metrics; returns a remark for a person, or None."""
        return None

    def named(self, row: dict[str, float]) -> dict[str, float]:
        """More values of an update, under the names that people know; shown, recorded and logged beside the row's."""
        return {}

    @property
    def sick(self) -> str | None:
        """Why the state is not worth keeping now, or None: it is then neither saved nor exported."""
        return None

    @property
    def collapsed(self) -> str | None:
        """Why the run is lost, or None: it then stops."""
        return None
