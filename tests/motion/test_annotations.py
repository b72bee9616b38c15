"""The lists of ViMoGen-228K and MBench, and what is wrong with others, entry by entry."""

import json

import pytest

from vrjax.motion import annotations

CLIP = {
    "id": "mogen_000001", "subset": "optical_mocap_data", "split": "train", "motion_text_annot": "A person walks.",
    "video_text_annot": "A man walks down a street.", "motion_path": "./data/motion31/a.pt", "sample_id": 3,
    "motion_text_annot_wanvideot5_embed_path": "embeds/a.pt", "video_text_annot_wanvideot5_embed_path": None,
}  # fmt: skip
PROMPT = {
    "global_id": 12, "id": 12, "dimension": "Motion_Generalizability", "motion_duration": 5, "main_action": "wave",
    "prompt": "Wave.", "prompt_motion_detailed": "A person waves.", "prompt_video_detailed": "A man waves at dusk.",
    "motion_path": None, "use_ref_motion": False, "auxiliary_info": ["bow", "sit"],
    "prompt_motion_detailed_wanvideot5_embed_path": "e.pt",
}  # fmt: skip
ROW = {
    "prompt": "Wave.", "dimension": "Jitter_Degree", "id": 12, "category": "quality", "motion_duration": 100,
}  # fmt: skip


def put(path, entries):
    path.write_text(json.dumps(entries))
    return path


def test_clips(tmp_path):
    entries = [CLIP, CLIP | {"id": 2, "video_path": "v.mp4", "video_text_annot": None}]
    one, two = annotations.read_vimogen(put(tmp_path / "a.json", entries))
    assert (one.id, two.id) == ("mogen_000001", "2") and (one.video_path, two.video_path) == (None, "v.mp4")
    assert one.motion_text == "A person walks." and two.video_text is None and one.subset == "optical_mocap_data"
    assert one.embeddings == {"motion_text_annot": "embeds/a.pt"}
    assert annotations.below("root", one.motion_path).as_posix() == "root/data/motion31/a.pt"
    for path in ("/etc/passwd", "../x.pt", "a/../../x", "C:\\x", " "):
        with pytest.raises(ValueError, match="is a path out of this folder"):
            annotations.below("root", path)


def test_prompts_and_what_is_evaluated(tmp_path):
    (found,) = annotations.read_mbench(put(tmp_path / "a.json", [PROMPT]))
    assert (found.id, found.global_id, found.seconds, found.use_reference) == (12, "12", 5.0, False)
    assert found.distractors == ("bow", "sit") and found.motion_path is None
    assert found.motion_text == "A person waves." and found.embeddings == {"prompt_motion_detailed": "e.pt"}
    rows = annotations.read_mbench_eval(put(tmp_path / "b.json", [ROW, ROW | {"auxiliary_info": ["bow"]}]))
    assert rows[0].motion_duration == 100 and rows[0].auxiliary_info == () and rows[1].auxiliary_info == ("bow",)
    assert len({*rows, *rows}) == 2


WRONG = {
    "holds dict, expected a list of entries": (annotations.read_vimogen, {"clips": []}),
    "holds nothing, expected a list of entries": (annotations.read_vimogen, []),
    "entry 1 is str, expected an object": (annotations.read_vimogen, [CLIP, "walk"]),
    "entry 0 has no 'motion_path'": (annotations.read_vimogen, [{k: v for k, v in CLIP.items() if k != "motion_path"}]),
    "entry 0 motion_path is 3, expected str": (annotations.read_vimogen, [CLIP | {"motion_path": 3}]),
    "entry 0 video_text_annot is 1, expected str or null": (annotations.read_vimogen, [CLIP | {"video_text_annot": 1}]),
    "entries 0 and 1 have one id, 12": (annotations.read_mbench, [PROMPT, PROMPT]),
    "entry 0 id is True, expected int": (annotations.read_mbench, [PROMPT | {"id": True}]),
    "entry 0 motion_duration is 0, expected seconds": (annotations.read_mbench, [PROMPT | {"motion_duration": 0}]),
    "entry 0 auxiliary_info is .*, expected texts": (annotations.read_mbench, [PROMPT | {"auxiliary_info": [1]}]),
    "entry 0 use_ref_motion is 'no', expected bool": (annotations.read_mbench, [PROMPT | {"use_ref_motion": "no"}]),
    "is 2.5, expected a whole number of frames": (annotations.read_mbench_eval, [ROW | {"motion_duration": 2.5}]),
    "entry 0 has no 'category'": (annotations.read_mbench_eval, [PROMPT]),
}


@pytest.mark.parametrize("said", WRONG)
def test_wrong_lists_are_one_line(said, tmp_path):
    read, entries = WRONG[said]
    with pytest.raises(ValueError, match=said) as error:
        read(put(tmp_path / "bad.json", entries))
    assert str(error.value).startswith(f"{tmp_path}/bad.json: ") and "\n" not in str(error.value)


def test_not_json(tmp_path):
    (tmp_path / "bad.json").write_text('[{"id": 1,')
    with pytest.raises(ValueError, match="bad.json: not valid JSON"):
        annotations.read_mbench(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        annotations.read_mbench(tmp_path / "none.json")
