"""The inputs of a stage, taken from one step of a correct run."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Inputs:
    """One step of a correct run: the model, what was fed, and every stage's value."""

    model: object  # gpt2.GPT2
    tokens: np.ndarray  # B,T
    past: int  # P
    stages: dict  # stage -> array, this step
    before: dict  # stage -> array, the step before (empty at the first)

    def of(self, stage, word):
        """The value of the stage `word` of the same block, such as ln_1 or attn.q."""
        return self.stages[".".join(stage.split(".")[:2] + [word])]

    def block_input(self, stage):
        n = int(stage.split(".")[1])
        return self.stages[f"h.{n - 1}.resid_post" if n else "embed"]

    def norm_input(self, stage):
        if stage == "ln_f":
            return self.stages[f"h.{self.model.layers - 1}.resid_post"]
        return self.of(stage, "resid_mid") if stage.endswith("ln_2") else self.block_input(stage)

    def linear_input(self, stage):
        words = {"attn.c_attn": "ln_1", "attn.c_proj": "attn.context", "mlp.c_fc": "ln_2", "mlp.c_proj": "mlp.act"}
        return self.of(stage, words[stage.split(".", 2)[2]])

    def residual_inputs(self, stage):
        """(the stream, the branch added to it)"""
        if stage.endswith("resid_mid"):
            return self.block_input(stage), self.of(stage, "attn.c_proj")
        return self.of(stage, "resid_mid"), self.of(stage, "mlp.c_proj")
