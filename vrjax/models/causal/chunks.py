"""How the frames of a video fall into chunks, and which frames each chunk sees: one answer for all who ask.

A token sees its own chunk, in both directions, and the chunks before it. With a window of W frames a chunk that ends
before frame E sees frames from E - W on, its own included; with a sink of S frames the window is made of the first S
frames and of the last W - S.
"""

from collections.abc import Sequence


def partition(frames: int, chunk: int = 3, first: int | None = None) -> tuple[int, ...]:
    """Lengths of the chunks of a video.

    Args:
        frames: of the latent video.
        chunk: frames of a chunk.
        first: of the first one, where it is another length: Self-Forcing's independent first frame is `first=1`.

    Raises:
        ValueError: the frames do not fall into such chunks.
    """
    begin = chunk if first is None else first
    if min(frames, chunk, begin) < 1:
        raise ValueError(f"chunks: found {frames} frames, chunk {chunk} and first {first}, expected 1 or more of each")
    if frames < begin or (frames - begin) % chunk:
        kind = f"{begin} and then chunks of {chunk}" if first is not None else f"chunks of {chunk}"
        below = begin + max(frames - begin, 0) // chunk * chunk
        raise ValueError(f"chunks: {frames} frames are not {kind}; {below} or {below + chunk} are")
    return (begin, *[chunk] * ((frames - begin) // chunk))


def check_window(window: int | None, sink: int, chunks: Sequence[int]) -> None:
    """Raises ValueError where a window cannot hold its sink and the largest of the chunks."""
    if sink < 0 or (window is None and sink):
        raise ValueError(f"sink: found {sink} with window {window}, expected 0 or more frames of a window")
    if window is not None and window < sink + max(chunks):
        raise ValueError(f"window: {window} frames cannot hold a sink of {sink} and a chunk of {max(chunks)}")


def seen(start: int, end: int, window: int | None, sink: int = 0) -> list[int]:
    """Frames before `start` that the chunk of frames `start` ... `end - 1` sees, in their order."""
    if window is None or end <= window:
        return list(range(start))
    return [*range(min(sink, start)), *range(max(end - (window - sink), sink), start)]
