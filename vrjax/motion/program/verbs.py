"""What the program can do: a row of numbers and words for each action of the body and for each of the arms.

A new action is a new row. Numbers are metres, seconds and radians; words are forms of the third person, of which the
last is kept for tests of paraphrases that were never trained on. `{side}` is replaced by left or right.
"""

import dataclasses

SIDES = ("left", "right")
SPEEDS = {"slow": 0.65, "normal": 1.0, "fast": 1.35}
SPEED_WORDS = {
    "slow": ("slowly", "at a slow pace", "without hurry", "in a leisurely way"),
    "normal": ("", "", "", ""),
    "fast": ("quickly", "at a fast pace", "in a hurry", "briskly"),
}
COUNT_WORDS = (
    ("once", "one time", "a single time", "just once"),
    ("twice", "two times", "two times in a row", "twice in a row"),
    ("three times", "thrice", "three times in a row", "thrice in a row"),
)
PARAPHRASES = 4
WITH = ("while", "and", "while", "while")  # before what the arms do


@dataclasses.dataclass(frozen=True)
class Lower:
    """An action of the whole body.

    Attributes:
        name: unique.
        words: its paraphrases.
        sided, paced, counted: which of side, speed and count it has.
        forward, sideways, yaw: the speed of its path, in m/s and rad/s, the last two to the left.
        lift: how high a stepping foot rises; 0 for feet that stay.
        crouch, lean: how much lower the pelvis is, and how far the trunk leans, all the time.
        dip, back, pitch, roll: at each repeat's peak: the pelvis' way down and back, the trunk's bends.
        hold: share of a repeat that the peak lasts.
        jump: height of its flight; `jumps` flights a repeat.
        apart: the feet's way outward in the first flight, back in the second; the arms go with them.
        kick_forward, kick_up: the way of the side's foot at the peak.
        tuck: how high the other side's foot is held, all the time.
    """

    name: str
    words: tuple[str, str, str, str]
    sided: bool = False
    paced: bool = False
    counted: bool = False
    forward: float = 0.0
    sideways: float = 0.0
    yaw: float = 0.0
    lift: float = 0.0
    crouch: float = 0.0
    lean: float = 0.0
    dip: float = 0.0
    back: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    hold: float = 0.0
    jump: float = 0.0
    jumps: int = 1
    apart: float = 0.0
    kick_forward: float = 0.0
    kick_up: float = 0.0
    tuck: float = 0.0


@dataclasses.dataclass(frozen=True)
class Upper:
    """What the arms do meanwhile. Places of hands are from their shoulders: (outward, up, forward).

    Attributes:
        name: unique.
        words: its paraphrases, as they follow those of `WITH`.
        sided: one hand, or both.
        ready: where the hands wait.
        goal: where they are at each of `beats` peaks.
        swing: how far they swing about that place, `rate` times a second.
    """

    name: str
    words: tuple[str, str, str, str]
    sided: bool = False
    ready: tuple[float, float, float] = (0.05, -0.47, 0.06)
    goal: tuple[float, float, float] | None = None
    beats: int = 0
    swing: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rate: float = 0.0


LOWER = (
    Lower("stand", ("stands still", "stays in place", "stands upright", "remains standing")),
    Lower(
        "walk",
        ("walks forward", "strolls ahead", "steps forward", "goes straight ahead"),
        paced=True,
        forward=1.0,
        lift=0.10,
    ),
    Lower(
        "walk_back",
        ("walks backward", "steps back", "goes backwards", "retreats with steps to the rear"),
        paced=True,
        forward=-0.7,
        lift=0.08,
    ),
    Lower(
        "circle",
        (
            "walks in a circle to the {side}",
            "walks around in a {side} curve",
            "goes round in a circle turning {side}",
            "follows a circular path bending {side}",
        ),
        sided=True,
        paced=True,
        forward=0.9,
        yaw=0.8,
        lift=0.10,
    ),
    Lower(
        "sidestep",
        ("steps to the {side}", "side steps {side}", "shuffles sideways to the {side}", "moves sideways {side}"),
        sided=True,
        sideways=0.28,
        lift=0.08,
    ),
    Lower(
        "turn",
        (
            "turns {side} on the spot",
            "turns in place to the {side}",
            "rotates {side} where they stand",
            "spins slowly {side} in place",
        ),
        sided=True,
        yaw=1.2,
        lift=0.07,
    ),
    Lower(
        "march",
        (
            "marches in place",
            "marches on the spot",
            "lifts the knees in place",
            "steps up and down without moving ahead",
        ),
        paced=True,
        lift=0.28,
    ),
    Lower(
        "sneak",
        ("sneaks forward", "walks crouched", "creeps ahead bent down", "moves ahead in a crouch"),
        forward=0.55,
        lift=0.08,
        crouch=0.16,
        lean=0.5,
    ),
    Lower(
        "squat",
        ("squats", "does a squat", "bends the knees deeply", "goes down into a squat"),
        counted=True,
        dip=0.36,
        back=0.12,
        pitch=0.6,
        hold=0.1,
    ),
    Lower(
        "sit",
        (
            "sits down and gets up",
            "takes a seat and rises",
            "sits down for a moment",
            "lowers onto a seat and stands up",
        ),
        dip=0.40,
        back=0.24,
        pitch=0.5,
        hold=0.4,
    ),
    Lower(
        "bow",
        ("bows", "takes a bow", "bends forward at the waist", "leans the trunk forward and rises"),
        counted=True,
        back=0.06,
        pitch=1.1,
        hold=0.15,
    ),
    Lower(
        "bend",
        (
            "bends to the {side}",
            "leans to the {side} side",
            "tilts the trunk {side}",
            "inclines the upper body to the {side}",
        ),
        sided=True,
        counted=True,
        roll=0.6,
        hold=0.15,
    ),
    Lower("jump", ("jumps", "jumps up", "leaps into the air", "springs off the ground"), counted=True, jump=0.22),
    Lower(
        "hop",
        (
            "hops on the {side} foot",
            "hops on the {side} leg",
            "jumps on the {side} leg only",
            "bounces on one leg , the {side} one",
        ),
        sided=True,
        counted=True,
        jump=0.09,
        tuck=0.18,
    ),
    Lower(
        "kick",
        (
            "kicks with the {side} leg",
            "kicks the {side} foot forward",
            "gives a {side} kick",
            "swings the {side} leg up in front",
        ),
        sided=True,
        counted=True,
        kick_forward=0.55,
        kick_up=0.45,
        pitch=-0.15,
    ),
    Lower(
        "jumping_jack",
        (
            "does a jumping jack",
            "does a star jump",
            "jumps both feet apart and together",
            "performs a side straddle hop",
        ),
        counted=True,
        jump=0.07,
        jumps=2,
        apart=0.24,
    ),
)

UPPER = (
    Upper("none", ("", "", "", "")),
    Upper(
        "wave",
        (
            "waving the {side} hand",
            "waves with the {side} arm",
            "giving a {side} wave",
            "greeting with the {side} hand",
        ),
        sided=True,
        ready=(0.26, 0.36, 0.12),
        swing=(0.13, -0.03, 0.0),
        rate=1.8,
    ),
    Upper(
        "raise",
        ("raising both arms", "lifts both hands up", "putting the arms up", "reaching up with both hands"),
        goal=(0.06, 0.49, 0.05),
        beats=2,
    ),
    Upper(
        "clap",
        ("clapping", "claps the hands", "applauding", "bringing the palms together again and again"),
        ready=(-0.06, -0.10, 0.36),
        swing=(0.08, 0.0, 0.0),
        rate=1.8,
    ),
    Upper(
        "punch",
        (
            "punching with the {side} fist",
            "throws {side} punches",
            "boxing with the {side} hand",
            "striking ahead with the {side} fist",
        ),
        sided=True,
        ready=(-0.04, -0.12, 0.22),
        goal=(-0.08, 0.0, 0.49),
        beats=3,
    ),
    Upper(
        "hips",
        (
            "holding the hands on the hips",
            "keeps the hands on the hips",
            "having the hands at the hips",
            "resting the hands at the waist",
        ),
        ready=(0.06, -0.36, 0.06),
    ),
    Upper(
        "reach",
        (
            "holding both arms out in front",
            "stretches the arms forward",
            "reaching ahead with both arms",
            "extending the hands to the front",
        ),
        ready=(0.02, -0.02, 0.48),
    ),
    Upper(
        "throw",
        (
            "throwing with the {side} hand",
            "makes {side} handed throws",
            "hurling something with the {side} arm",
            "tossing things with the {side} hand",
        ),
        sided=True,
        ready=(0.16, 0.24, -0.14),
        goal=(-0.06, -0.08, 0.46),
        beats=2,
    ),
)
