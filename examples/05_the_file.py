"""The file: what is inside, and how small a process can answer"""

# %%
import subprocess
import sys

import everymodel as em

run = em.fit("sample:wine", target="cultivar", models=["logistic"], trials=1, seed=0)
run.model.save("wine.em")

# %%
# `inspect` reads the description without building the model. Nothing in a .em file is ever executed.
from everymodel import scoring

about = scoring.inspect("wine.em")
print(sorted(about))

# %%
# A process that has numpy and nothing else answers from it:
code = """
import sys
from everymodel import scoring
model = scoring.load("wine.em")
row = {c.name: c.low for c in model.schema.features}
print(model.predict(row), "scikit-learn loaded:", "sklearn" in sys.modules)
"""
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
