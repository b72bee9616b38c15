"""What papers do with a trajectory. Import the submodule you need.

Chain-of-Steps: `perturb`, `readout`, `counts`, `cka`, `layers`, `probes`, `ensemble` with its `arms`, and `null`, the
exact denoiser that knows all answers. VChain: `keyframes` (the loop), `thought_files` (the paper's layout), reasoners
(`reasoner_replay`, `reasoner_http`, `reasoner_oracle`, `reasoner_noisy`, `reasoner_learned`), and `adapt`.
"""
