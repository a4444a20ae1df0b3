"""Cancer cells: from a table to a tested model in one call"""

# %%
# The table holds 569 breast tumours, each described by 30 measurements of its cell nuclei. We want to know whether a
# tumour is malignant. One call reads the table, sets a test part aside, looks for trouble, tries models within the
# budget, and tests the chosen one once.
import everymodel as em

run = em.fit("sample:breast_cancer", target="diagnosis", budget="20s", seed=0)
print(run.headline)

# %%
# Every model that was tried, judged by cross-validation on the training rows only:
run.leaderboard[["model", "score", "fit_seconds", "weight"]].head(8)

# %%
# The figures below come from the test rows, which nothing before this point has read. Each has a 95 % interval.
for name, figure in list(run.metrics.items())[:8]:
    print(f"{name:20} {figure!r}")

# %%
# The model goes into one file that holds no code, and answers with numpy alone.
run.model.save("cancer.em")
model = em.load("cancer.em")
row = {c.name: (c.low + c.high) / 2 for c in model.schema.features}
print(model.predict(row), model.predict_proba(row))

# %%
# Why? The contributions of each measurement add up to the difference from the average answer.
import pandas as pd

why = model.explain(row, top=5)[0]
print(f"base {why['base']:.3f}, answer {why['answer']:.3f}, all other measurements {why['rest']:+.3f}")
pd.DataFrame(why["contributions"])

# %%
# A report for people who were not here:
path = run.report("report.html")
print(path, round(path.stat().st_size / 1e6, 2), "MB, one file, no network")
