"""BabyVision itself, in the user's own folder: what a model said in words, or pictures that it drew, judged and summed.

    python -m experiments.babyvision.real answers FOLDER run1.jsonl run2.jsonl run3.jsonl --out runs/babyvision-mine
    python -m experiments.babyvision.real drawings FOLDER generated/MODEL --judge URL --judge-model NAME --out ...

`answers`: each file is one run: lines `{"taskId": 445, "said": "all that the model said"}`, or a file of results as the
public code writes it. Answers are found in what was said and judged exactly, by no other model, unless `--judge` asks
one. Writes `model_results_run_N.json` in the public form, and `summary.md`: shares by type and subtype with their
deviation over runs, 95 % intervals (Wilson) and what who guesses solves; beside them as the public code counts.

`drawings`: of each folder `round*/images`; a model that sees judges question, right answer and drawing (the benchmark's
own pictures say not what there is to be marked, so no exact judge can). Writes `results/MODEL/round*/eval.jsonl` and
`summary.json`, in the public form.

A judge is an OpenAI-compatible server, asked once for each question and answer: its replies are kept in
`judged.jsonl`, and the same command goes on after a kill. The key is read from the environment variable that
`--judge-key` names. Nothing is sent anywhere without `--judge`.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from vrjax.bench import babyvision
from vrjax.bench.babyvision import answers, generated, results
from vrjax.files import given, pixels, writing
from vrjax.reasoning.thoughts.endpoint import OPENAI, Endpoint, at
from vrjax.report.tables import markdown
from vrjax.tasks.puzzles.item import Item

KEPT = "judged.jsonl"
SEEN = (
    "You see three pictures: a question, the same picture with the right answer drawn over it, and one to judge.\n"
    "The question is of the kind {subtype} ({type}); what was asked for: {prompt}\n"
    "Say True where the drawing marks the same answer as the second picture does: style, colour and exactness of marks "
    "do not matter. Say False where it marks another answer, only a part of it, more than it, or nothing that can be "
    "made out. Say that one word and nothing else."
)


class Judge:
    """A judging model behind a server, whose replies are kept.

    Args:
        ask: from a message's content to what the model replies.
        kept: the file of replies.
    """

    def __init__(self, ask: Callable[[Any], str], kept: pathlib.Path):
        self.ask, self.kept, self.replies = ask, kept, {}
        if kept.is_file():
            for line in given.text(kept).splitlines():
                try:
                    row = json.loads(line)
                    self.replies[row["of"]] = row["reply"]
                except (ValueError, KeyError, TypeError):
                    continue  # a line that a kill tore is asked for again

    def reply(self, content: Any) -> str:
        """What it says of a content: said before, or now."""
        of = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        if of not in self.replies:
            self.replies[of] = self.ask(content)
            self.kept.parent.mkdir(parents=True, exist_ok=True)
            with self.kept.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"of": of, "reply": self.replies[of]}) + "\n")
        return self.replies[of]

    def words(self, item: Item, answer: str | None) -> bool:
        """Whether an answer in words is right, as `answers.judged` asks; but what goes wrong in asking is raised."""
        text = answers.JUDGE.format(question=answers.asked(item), right=item.answer, given=answer)
        return answer is not None and answers.verdict(self.reply(text)) is True

    def sees(self, item: Item, picture: np.ndarray) -> str:
        """What it says of a drawing. Raises ValueError where the item has no drawn answer."""
        if item.answer_image is None:
            raise ValueError(f"item {item.task_id}: has no answer image to compare with")
        text = SEEN.format(subtype=item.subtype, type=item.type, prompt=item.prompt)
        shown = [generated.padded(image) for image in (item.image, item.answer_image)] + [picture]
        urls = [f"data:image/png;base64,{base64.b64encode(pixels.png(one)).decode()}" for one in shown]
        images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        return self.reply([{"type": "text", "text": text}, *images])


def server(url: str, model: str, key: str) -> Callable[[Any], str]:
    """Asks a chat model. Raises as `Endpoint` and `Endpoint.ask`."""
    endpoint = Endpoint(base_url=url, key_variable=key)

    def ask(content: Any) -> str:
        messages = [{"role": "user", "content": content}]
        create = lambda client: client.chat.completions.with_raw_response.create(model=model, messages=messages)
        reply = at(endpoint.ask("judge", create), "choices", 0, "message", "content", what="judge")
        return reply if isinstance(reply, str) else ""

    return ask


def said(path: pathlib.Path) -> dict[int, str]:
    """What a model said of each item, by its number: of lines, or of a file of results.

    Raises:
        FileNotFoundError: no such file. ValueError: a line or row that says neither item nor answer; names it.
    """
    if path.suffix == ".json":
        return {row["Id"]: str(row.get("ModelResult") or "") for row in results.read(path)}
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    out: dict[int, str] = {}
    for number, line in enumerate(given.text(path).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error}); an unfinished run?") from None
        if not isinstance(row, dict) or not isinstance(row.get("taskId"), int) or not isinstance(row.get("said"), str):
            raise ValueError(f"{path}, line {number}: expected an object with a whole number taskId and a text said")
        if row["taskId"] in out:
            raise ValueError(f"{path}, line {number}: taskId {row['taskId']} for the second time")
        out[row["taskId"]] = row["said"]
    return out


def chance(items: Sequence[Item]) -> float:
    """What who guesses solves: one of the options; of blanks nothing."""
    return float(np.mean([1 / len(item.options) if item.options else 0.0 for item in items]))


def listed(items: Sequence[Item], found: Mapping[str, Any], official: Mapping[str, Any]) -> str:
    """The summary as a table."""
    rows = []

    def row(name: str, one: Mapping[str, Any], among: Sequence[Item], public: Mapping[str, Any] | None) -> None:
        low, high = one["interval"]
        of = f"{one['mean']:.3f} ± {one['std']:.3f}", f"[{low:.3f}, {high:.3f}]"
        rows.append([name, str(one["n"]), *of, f"{chance(among):.3f}", f"{public['mean']:.3f}" if public else ""])

    row("all", found["overall"], items, official["overall"])
    for kind, one in found["type"].items():
        row(kind, one, [item for item in items if item.type == kind], official["type"].get(kind))
        for subtype, inside in found["subtype"].items():
            among = [item for item in items if item.subtype == subtype]
            if among[0].type == kind:
                name = f"{results.NUMBERS[kind]}{kind}/{subtype}"
                row(f"- {subtype}", inside, among, official["subtype"].get(name))
    runs, ddof = found["overall"]["runs"], found["ddof"]
    note = f"{runs} run{'s' * (runs > 1)}; deviations over runs with ddof {ddof}; items that a run lacks are wrong.\n\n"
    return note + markdown(["", "items", "right", "95 %", "guess", "as the public code counts"], rows)


def answered(options: argparse.Namespace, console: Console) -> None:
    """`answers`."""
    items = [item for item in babyvision.read(options.folder) if item.answer]
    if not items:
        raise ValueError(f"{options.folder}: no item has an answer in words; is it the track that draws?")
    judge = _judge(options)
    right = answers.judge if judge is None else judge.words
    paths = []
    for number, path in enumerate(options.runs, 1):
        told, out = said(path), options.out / f"model_results_run_{number}.json"
        shown = track(items, f"judging {path.name}", console=console, transient=True, disable=judge is None)
        verdicts = {
            item.task_id: right(item, answers.extract(told.get(item.task_id), options.compat)) for item in shown
        }
        results.write(out, items, told, judge=lambda item, _, v=verdicts: v[item.task_id], compat=options.compat)
        paths.append(out)
    found = babyvision.summary(paths, items=items, ddof=options.ddof)
    text = listed(items, found, babyvision.summary(paths, compat=answers.OFFICIAL, ddof=options.ddof))
    writing.text(options.out / "summary.md", text)
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"written to {options.out}")


def drawn(options: argparse.Namespace, console: Console) -> None:
    """`drawings`."""
    items = [item for item in babyvision.read(options.folder) if item.kind == "drawn"]
    judge = _judge(options)
    if judge is None:
        raise ValueError("drawings: expected --judge URL and --judge-model NAME: the pictures say not what is marked")
    for folder in options.runs:
        rounds = sorted(path for path in folder.glob("round*") if (path / "images").is_dir())
        if not rounds:
            raise FileNotFoundError(f"{folder}: no round*/images in it")
        for one in rounds:
            shown = list(track(items, f"judging {folder.name}, {one.name}", console=console, transient=True))
            rows = generated.evaluate(shown, one / "images", judge.sees)
            generated.write_eval(options.out / "results" / folder.name / one.name / generated.EVAL, rows)
    found = generated.summary(generated.rounds(options.out / "results"), items, compat=options.compat)
    writing.json(options.out / "results" / "summary.json", found)
    for model, one in found["models"].items():
        console.print(f"{model}: {one['mean_accuracy']:.3f} ± {one['std_accuracy']:.3f}, {one['num_rounds']} rounds")
    console.print(f"written to {options.out / 'results'}")


def _judge(options: argparse.Namespace) -> Judge | None:
    if options.judge is None:
        return None
    if options.judge_model is None:
        raise ValueError("--judge: expected --judge-model NAME beside it")
    return Judge(server(options.judge, options.judge_model, options.judge_key), options.out / KEPT)


WHAT: Mapping[str, Callable[[argparse.Namespace, Console], None]] = {"answers": answered, "drawings": drawn}


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit status (2 for a mistake in what was asked)."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.babyvision.real",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=tuple(WHAT))
    parser.add_argument("folder", type=pathlib.Path, help="the benchmark's: meta_data.jsonl with pictures, or parquet")
    parser.add_argument(
        "runs", type=pathlib.Path, nargs="+", help="files of what a model said; or its generated folder"
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where results are written")
    parser.add_argument("--compat", choices=(answers.OFFICIAL,), help="extract, or sum up, as the public code does")
    parser.add_argument("--ddof", type=int, default=0, help="of deviations over runs of answers (0, as published)")
    parser.add_argument("--judge", metavar="URL", help=f"an OpenAI-compatible server, such as {OPENAI}")
    parser.add_argument("--judge-model", metavar="NAME", help="its name for the model that judges")
    parser.add_argument(
        "--judge-key", metavar="VARIABLE", default="OPENAI_API_KEY", help="holds the key (OPENAI_API_KEY)"
    )
    options = parser.parse_args(argv)
    try:
        WHAT[options.what](options, Console())
    except (ValueError, OSError, ImportError) as error:
        print(f"babyvision: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("babyvision: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
