"""The only training loop: an objective says what a step costs, a source yields batches, the loop does all the rest.

    objective.py   what is learnt: networks and the losses of one step
    source.py      batches that already lie on the device: arrays, ragged sequences, graphs
    loop.py        optimisers, schedules, budget, early stopping, recovery, checkpoints, progress
    optimizers.py  parameter groups by role; SGD, momentum, RMSprop, Adam, AdamW, Muon
    device.py      where to train, and in which number format
    folds.py       several models of one shape trained as one
    checkpoint.py  the state of a run in one file, so that a killed run goes on as if nothing had happened
    blocks/        layers; each writes itself down for `everymodel.scoring.layers`, which answers in numpy
    estimator.py   scikit-learn's face for networks

A network never writes a loop. This floor needs torch and imports nothing above it.
"""

from __future__ import annotations
