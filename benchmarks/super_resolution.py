"""Super-resolution: trained on one folder of images, judged on another, beside bicubic enlargement.

    python benchmarks/super_resolution.py --train T91 --test SET5 [--seconds 300] [--seeds 0] [--faithful]

Luminance from 16 to 235, as papers count it, without a rim of 4 pixels; small images are made by bicubic shrinking (in
the line of Pillow by its own code). psnr in dB; detail: energy of what is lost when an image is halved and enlarged
again, against that of the true image.
--faithful leaves the vivid network out; --steps N instead of --seconds on a busy machine; --pictures FOLDER keeps
faithful, vivid and true images side by side.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

import everymodel as em


def check(folder: Path, factor: int) -> float:
    """Peak signal-to-noise ratio of Pillow's bicubic, both ways, as the papers count it."""
    from everymodel.scoring.steps.enhancing import TO_YCC, signal_to_noise

    found = []
    for path in sorted(folder.glob("*.png")):
        image = Image.open(path).convert("RGB")
        w, h = (side - side % factor for side in image.size)
        large = image.crop((0, 0, w, h))
        small = large.resize((w // factor, h // factor), Image.Resampling.BICUBIC)
        again = small.resize((w, h), Image.Resampling.BICUBIC)
        found.append(signal_to_noise(*(np.asarray(x, dtype=float) @ TO_YCC[0] * 219 / 255 for x in (again, large)), 4))
    return float(np.mean(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--factor", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--faithful", action="store_true")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="other settings of the model")
    asked = parser.parse_args()
    train, test = ([str(p) for p in sorted(f.glob("*.png"))] for f in (asked.train, asked.test))
    print(f"{len(train)} images to learn from, {len(test)} to judge")
    print(f"Pillow's bicubic: {check(asked.test, asked.factor):.2f} dB")
    extra = dict(pair.split("=") for pair in asked.set)
    made = {k: float(v) if "." in v or "e-" in v else int(v) if v.isdigit() else v for k, v in extra.items()}
    for seed in asked.seeds:
        wall, cpu = time.monotonic(), time.process_time()
        given = {"steps": asked.steps} if asked.steps else {"budget": asked.seconds}
        model = em.SRGAN(factor=asked.factor, adversarial=not asked.faithful, random_state=seed, **given, **made).fit(
            train
        )
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        told = ", ".join(f"{k} {v:.3f}" for k, v in model.evaluate(test).items())
        steps = {name: h.steps for name, h in model.histories_.items()}
        print(f"seed {seed}: {told}; steps {steps}, {wall:.0f} s wall, {cpu:.0f} s CPU", flush=True)
        if asked.pictures:
            asked.pictures.mkdir(parents=True, exist_ok=True)
            for path in test:
                image = Image.open(path).convert("RGB")
                w, h = (side - side % asked.factor for side in image.size)
                large = image.crop((0, 0, w, h))
                small = large.resize((w // asked.factor, h // asked.factor), Image.Resampling.BICUBIC)
                shown = [model.upscale(np.asarray(small), f) for f in (1.0, 0.0)]
                beside = Image.fromarray(np.hstack([*shown, np.asarray(large)]))
                beside.save(asked.pictures / f"{seed}-{Path(path).name}")


if __name__ == "__main__":
    main()
