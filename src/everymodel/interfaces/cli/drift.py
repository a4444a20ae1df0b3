"""everymodel drift: do new rows fall into a model's groups as the rows of the fit did?"""

from __future__ import annotations

from typing import Any

from everymodel.interfaces.cli import draw
from everymodel.interfaces.cli.shell import Json, Quiet, Verbose, able, console, emit, examples, guarded, working
from everymodel.interfaces.cli.source import Data, Encoding, ModelFile, Query, Separator, Sheet, read

EXAMPLES = examples(
    "everymodel drift segments.em customers_in_june.csv",
    "everymodel drift segments.em new.parquet --json | jq .drifted",
)
_NAMES = {"shares": "shares", "noise": "no group", "distances": "shape", "moved": "centre", "far": "far off"}


@guarded
def command(
    model: ModelFile,
    data: Data,
    sheet: Sheet = None,
    query: Query = None,
    separator: Separator = None,
    encoding: Encoding = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Say whether the groups of a model have moved, grown or shrunk in new rows, or a new group has appeared."""
    with working("Comparing", quiet or as_json):
        import everymodel as em

        loaded = able(em.load(model), "drift", "groups that could drift")
        table = read(data, sheet=sheet, query=query, separator=separator, encoding=encoding)
        found = loaded.drift(table.frame)
    if as_json:
        emit(found)
        return
    out = console()
    changed = [one for one in found.shifts if one.changed]
    word = f"{len(changed)} of {len(found.shifts)} tests say" if changed else f"none of {len(found.shifts)} tests says"
    verdict = "The groups have drifted" if found.drifted else "No drift"
    out.print(draw.text(f"{verdict} in {found.rows:,} rows: {word} so.", "bold yellow" if found.drifted else "bold"))
    if quiet:
        return
    for one in changed:
        out.print(draw.text(f"  {one.sentence}"))
    out.print()
    names = _groups(loaded.manifest)
    shares = draw.table("group", "before", "now", "difference", right=range(1, 4))
    for one in found.shares:
        gap = one["now"] - one["before"]
        name = draw.clean(names.get(one["group"], str(one["group"])), 48)
        shares.add_row(draw.text(name), f"{one['before']:.1%}", f"{one['now']:.1%}", f"{gap:+.1%}")
    out.print(shares)
    out.print()
    tests = draw.table("tested", "group", "effect", "p", "", right=(2, 3))
    for one in found.shifts:
        who = (
            "all" if one.group is None or one.what == "shares" else draw.clean(names.get(one.group, str(one.group)), 32)
        )
        verdict = draw.text("changed", "yellow") if one.changed else draw.text("as before", "dim")
        tests.add_row(_NAMES[one.what], draw.text(who), f"{one.effect:.3f}", f"{one.p:.2g}", verdict)
    out.print(tests)
    out.print(draw.text(f"Stability index of the shares: {found.psi:.3f} (by habit 0.1 is some, 0.25 much).", "dim"))


def _groups(manifest: dict[str, Any]) -> dict[int, str]:
    """Number and name of each group, where it has a name."""
    told = manifest.get("segments") or []
    return {s["number"]: f"{s['number']} {s['name']}" for s in told if "number" in s and s.get("name")}
