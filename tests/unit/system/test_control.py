"""What a refusal says from the control socket to the terminal."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web

from pointsman.cli.client import Client, Refused
from pointsman.model.fault import Fault
from pointsman.model.problem import Invalid, Place, Problem
from pointsman.system.control import listen, problems

WRONG = Problem(Place("p.yaml", 3, 7), "unknown-field", "unknown field `nam`", "did you mean `name`?")
USED_UP = Problem(Place(), "tunnels-used-up", "all 4 tunnels are granted")


async def answering(folder: Path, failure: Exception) -> web.AppRunner:
    async def fail(_: web.Request) -> web.StreamResponse:
        raise failure

    app = web.Application(middlewares=[problems])
    app.add_routes([web.post("/v1/policy", fail)])
    return await listen(app, folder / "control.sock")


@pytest.mark.parametrize(
    ("failure", "title", "label", "found"),
    [
        (Invalid([WRONG, USED_UP]), "refused; nothing was changed", "refused", (USED_UP, WRONG)),
        (
            ValueError("nobody holds it"),
            "refused; nothing was changed",
            "refused",
            (Problem(Place(), "refused", "nobody holds it"),),
        ),
        (Fault("nft-refused", "check the guard", "no"), "check the guard: no", "nft-refused", ()),
        (KeyError("text"), "the request is not understood: 'text'", "not-understood", ()),
    ],
)
def test_a_refusal_keeps_its_label_and_its_problems(
    tmp_path: Path, failure: Exception, title: str, label: str, found: tuple[Problem, ...]
) -> None:
    async def asked() -> Refused:
        runner = await answering(tmp_path, failure)
        with pytest.raises(Refused) as refused:
            await asyncio.to_thread(Client(tmp_path).post, "/v1/policy")
        await runner.cleanup()
        return refused.value

    refused = asyncio.run(asked())

    assert (str(refused), refused.label, refused.problems) == (title, label, found)


@pytest.mark.parametrize("json_", [True, False])
def test_a_refused_policy_is_told_with_place_and_label(tmp_path: Path, json_: bool) -> None:
    (tmp_path / "p.yaml").write_text("")
    words = ["policy", "apply", str(tmp_path / "p.yaml"), "--runtime", str(tmp_path), *(["--json"] if json_ else [])]

    async def applied() -> subprocess.CompletedProcess[str]:
        runner = await answering(tmp_path, Invalid([WRONG, USED_UP]))
        command = [sys.executable, "-m", "pointsman", *words]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
        await runner.cleanup()
        return done

    done = asyncio.run(applied())

    assert done.returncode == 1
    if json_:
        assert json.loads(done.stdout) == {
            "error": "refused; nothing was changed",
            "label": "refused",
            "problems": [
                {"file": "", "line": 0, "column": 0, "label": USED_UP.label, "what": USED_UP.what, "hint": ""},
                {
                    "file": "p.yaml",
                    "line": 3,
                    "column": 7,
                    "label": WRONG.label,
                    "what": WRONG.what,
                    "hint": WRONG.hint,
                },
            ],
        }
    else:
        assert done.stderr.splitlines() == [
            "error: refused; nothing was changed",
            USED_UP.what,
            f"p.yaml:3:7: {WRONG.what}",
            f"    {WRONG.hint}",
        ]
