"""Tasks of the video problem by name. No model is needed."""

DROPPED, BLURRED, AVERAGED = "dropped", "blurred", "averaged"
TASKS = (DROPPED, BLURRED, AVERAGED)
"""What is seen: the two frames before the wall; all four, blurred; means of two frames each."""
