# %% [markdown]
# # A search from Python
#
# Cells for Jupyter, VS Code or plain `python examples/notebook.py`. It needs a platform: `paploss up` in a terminal, or
# a controller elsewhere, with its address in `PAPLOSS_CONTROLLER_URL` and a user's key in `PAPLOSS_KEY`. The profile
# `synthetic` takes seconds and needs no data: replace it by a real one, and add a `dataset`.

# %%
import os
from pathlib import Path

import plotly.graph_objects as go

from paploss.client.algorithms import PpoSettings
from paploss.client.models import ExperimentSummary
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client

# %% [markdown]
# ## Start a search and wait for it
#
# An invalid specification raises at once and names the fields. `wait` calls back whenever something has changed.

# %%
url = os.environ.get("PAPLOSS_CONTROLLER_URL", "http://127.0.0.1:8080")
client = Client(url, os.environ.get("PAPLOSS_KEY") or Path("state/keys/admin").read_text())
spec = SearchSpec(
    name="from a notebook",
    profile="synthetic",
    algorithm=PpoSettings(),
    mode="round",
    rounds=4,
    trials_per_round=6,
    confirm=ConfirmSpec(candidates=2, seeds=2),
)
search = client.create(spec)


def tell(run: ExperimentSummary) -> None:
    best = "none yet" if run.best_ap is None else f"{100 * run.best_ap:.1f}"
    print(f"{run.state}: {run.trials_final} of {run.trials_planned} trials, best AP {best}")


finished = client.wait(search.id, tell)

# %% [markdown]
# ## Look at the result
#
# The figures are those of the page, created by the controller.

# %%
rewards = go.Figure(client.figure(search.id, "rewards"))
rewards

# %%
functions = go.Figure(client.figure(search.id, "functions"))
functions

# %%
policy = go.Figure(client.figure(search.id, "policy"))
policy

# %% [markdown]
# ## Export it
#
# Trials and the best loss are typed records. `paploss export` writes the same as files.

# %%
proxies = list(client.trials(search.id, kind="proxy"))
by_round = {number: [t.reward for t in proxies if t.round == number and t.reward is not None] for number in range(4)}
for number, found in by_round.items():
    print(f"round {number + 1}: {len(found)} rewards, mean {100 * sum(found) / len(found):.1f}")

# %%
best = client.best(search.id)
print(f"{best.source}: AP {100 * best.ap:.1f}, confirmed: {best.confirmed}")
Path("found-loss.json").write_text(best.loss.model_dump_json(indent=2))
client.close()
