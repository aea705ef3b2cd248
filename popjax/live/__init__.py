"""The live page: a population in training, shown in the browser and steered by a person. No JAX here.

`search(..., live=True)` serves it at a free port of this machine; `Live` chooses the port and who may open it. Needs
the extra `live`.

>>> import popjax as pj
>>> task = pj.objective(lambda key, hparams: {"loss": hparams["x"] ** 2})
>>> results = pj.search(task, {"x": pj.uniform(0, 1)}, trials=8, live=pj.live.Live(port=0))
"""

from popjax.live.search import Live

__all__ = ["Live"]
